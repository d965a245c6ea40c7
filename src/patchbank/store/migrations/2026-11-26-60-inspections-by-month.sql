-- Stores inspections by month, with their part and station, and images of inspections.
-- A month is a partition, which is removed at once when it is no longer kept.

alter table inspection rename to inspection_before;
do $$
declare
    held record;
begin
    for held in
        select conname as name from pg_constraint where conrelid = 'inspection_before'::regclass
    loop
        execute format(
            'alter table inspection_before rename constraint %I to %I',
            held.name, 'before_' || held.name
        );
    end loop;
end
$$;
alter index inspection_recent rename to inspection_before_recent;
alter index inspection_verdict rename to inspection_before_verdict;
alter sequence inspection_inspection_id_seq rename to inspection_before_id_seq;

create table inspection (
    category_id bigint not null,
    inspection_id bigint generated always as identity,
    version integer not null,
    image_name text not null,
    sha256 bytea not null,
    verdict text not null check (verdict in ('pass', 'review', 'fail')),
    score double precision not null,
    pass_below double precision,
    fail_above double precision not null,
    p_value double precision,
    regions jsonb not null,
    similar_images jsonb not null,
    timings_ms jsonb not null,
    inspected_at timestamptz not null default now(),
    part text,
    station text,
    brightness real,
    sharpness real,
    grid_rows smallint,
    grid_columns smallint,
    outside bytea
) partition by range (inspected_at);

create table inspection_default partition of inspection default;

create table inspection_image (
    category_id bigint not null,
    inspection_id bigint not null,
    inspected_at timestamptz not null,
    encoding text not null check (encoding in ('file', 'pixels')),
    content bytea not null
) partition by range (inspected_at);

alter table inspection_image alter column content set storage external;

create table inspection_image_default partition of inspection_image default;

create function make_inspection_month(month timestamp) returns void
language plpgsql as $$
declare
    parent text;
    partition text;
    first timestamptz := month at time zone 'utc';
    next timestamptz := (month + interval '1 month') at time zone 'utc';
begin
    foreach parent in array array['inspection', 'inspection_image'] loop
        partition := format('%s_%s', parent, to_char(month, 'YYYY_MM'));
        continue when to_regclass('patchbank.' || partition) is not null;
        execute format(
            'create table %I (like %I including defaults including constraints '
            'including indexes including storage)',
            partition, parent
        );
        -- Attaching locks it anyway: nothing may come in between.
        execute format('lock table %I_default in access exclusive mode', parent);
        execute format(
            'with moved as (delete from %1$I_default '
            'where inspected_at >= %2$L and inspected_at < %3$L returning *) '
            'insert into %4$I select * from moved',
            parent, first, next, partition
        );
        execute format(
            'alter table %I attach partition %I for values from (%L) to (%L)',
            parent, partition, first, next
        );
    end loop;
end
$$;

create function make_inspection_months() returns void
language plpgsql security definer
set search_path = patchbank, pg_temp
set lock_timeout = '100ms'
as $$
declare
    month timestamp := date_trunc('month', now() at time zone 'utc');
begin
    -- Whoever comes second has nothing to do.
    if pg_try_advisory_xact_lock(7205759403792794) then
        for ahead in 0..2 loop
            perform make_inspection_month(month + ahead * interval '1 month');
        end loop;
    end if;
end
$$;

do $$
declare
    recorded record;
begin
    for recorded in
        select distinct date_trunc('month', inspected_at at time zone 'utc') as month
        from inspection_before
        order by month
    loop
        perform make_inspection_month(recorded.month);
    end loop;
end
$$;

insert into inspection (
    category_id, inspection_id, version, image_name, sha256, verdict, score, pass_below, fail_above,
    p_value, regions, similar_images, timings_ms, inspected_at
)
overriding system value
select
    category_id, inspection_id, version, image_name, sha256, verdict, score, pass_below, fail_above,
    p_value, regions, similar_images, timings_ms, inspected_at
from inspection_before;

select setval('inspection_inspection_id_seq', last_value, is_called) from inspection_before_id_seq;

-- Indexes are built faster than filled.
alter table inspection add primary key (category_id, inspection_id, inspected_at);
alter table inspection add foreign key (category_id, version) references bank;
alter table inspection_image add primary key (category_id, inspection_id, inspected_at);

create index inspection_recent on inspection (category_id, inspected_at desc, inspection_id desc);
create index inspection_verdict
    on inspection (category_id, verdict, inspected_at desc, inspection_id desc);
create index inspection_part on inspection (category_id, part, inspected_at desc, inspection_id desc)
    where part is not null;
create index inspection_station
    on inspection (category_id, station, verdict, inspected_at desc, inspection_id desc)
    where station is not null;

create or replace view inspections as
select
    category.name as category, inspection.inspection_id, inspection.inspected_at,
    inspection.image_name as image, inspection.verdict, inspection.score,
    coalesce(inspection.pass_below, inspection.fail_above) as pass_below, inspection.fail_above,
    inspection.p_value, inspection.regions, inspection.similar_images, inspection.timings_ms,
    encode(inspection.sha256, 'hex') as sha256, category_id, inspection.version,
    inspection.part, inspection.station
from inspection join category using (category_id);

-- Who had a right to the table has it again, and the same to the images.
do $$
declare
    granted record;
begin
    for granted in
        select case grantee when 0 then 'public' else grantee::regrole::text end as name,
            privilege_type, case when is_grantable then ' with grant option' else '' end as further
        from pg_class, aclexplode(relacl)
        where oid = 'inspection_before'::regclass and grantee <> relowner
    loop
        execute format(
            'grant %s on inspection, inspection_image to %s%s',
            granted.privilege_type, granted.name, granted.further
        );
    end loop;
end
$$;

drop table inspection_before;

select make_inspection_months();
