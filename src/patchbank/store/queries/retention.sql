Which inspections are kept, and the removal of others.

-- may_prune --
select pg_has_role(relowner, 'usage') from pg_class where oid = 'patchbank.inspection'::regclass

-- now --
select now()

-- lock --
-- An arbitrary number, the same in every process: one removes, others leave it to that one.
select pg_try_advisory_xact_lock(7205759403792795)

-- months --
-- With their size on the disk, images included; null for the default partition.
select
    case when name ~ '^inspection_\d{4}_\d\d$'
        then to_date(substring(name from 12), 'YYYY_MM')::timestamp end as month,
    size
from (
    select
        relname::text as name,
        pg_total_relation_size(child.oid) + coalesce(pg_total_relation_size(to_regclass(
            'patchbank.' || replace(relname, 'inspection_', 'inspection_image_')
        )), 0) as size
    from pg_inherits join pg_class as child on child.oid = inhrelid
    where inhparent = 'patchbank.inspection'::regclass
) as partition
order by month nulls last

-- by_hour --
-- Bytes that the inspections of each hour take, newest first: rows as some of them are large, with
-- their entries in the indexes and their share of what stays free in a page.
with typical as (
    select coalesce(avg(pg_column_size(sample)), 0) + 480 as bytes
    from (select inspection.* from inspection where inspected_at >= %(first)s limit 1000) as sample
)
select hour, sum(bytes)::bigint
from (
    select date_trunc('hour', inspected_at) as hour, count(*) * min(typical.bytes) as bytes
    from inspection, typical
    where inspected_at >= %(first)s
    group by 1
    union all
    select date_trunc('hour', inspected_at), sum(octet_length(content) + 100)
    from inspection_image
    where inspected_at >= %(first)s
    group by 1
) as taken
group by hour
order by hour desc

-- count --
select count(*) from inspection where inspected_at >= %(first)s and inspected_at < %(next)s

-- count_by_category --
select category_id, count(*) from inspection
where inspected_at >= %(first)s and inspected_at < %(next)s
group by category_id

-- drop_month --
drop table {inspections}, {images}

-- delete_some --
with old as materialized (
    select category.category_id, found.inspection_id, found.inspected_at
    from category, lateral (
        select inspection_id, inspected_at from inspection
        where inspection.category_id = category.category_id and inspected_at < %(before)s
        order by inspected_at
        limit %(most)s
    ) as found
    limit %(most)s
), images as (
    delete from inspection_image using old
    where inspection_image.category_id = old.category_id
        and inspection_image.inspection_id = old.inspection_id
        and inspection_image.inspected_at = old.inspected_at
), removed as (
    delete from inspection using old
    where inspection.category_id = old.category_id
        and inspection.inspection_id = old.inspection_id
        and inspection.inspected_at = old.inspected_at
    returning inspection.category_id
)
select category_id, count(*) from removed group by category_id
