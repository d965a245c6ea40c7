-- Adds the regions of defects, with an embedding each, and counts the changes of the defect book.

alter table category add column book_changes bigint not null default 0;

create table defect_region (
    category_id bigint not null,
    defect_id bigint not null,
    -- From 1, the strongest first.
    number integer not null,
    x0 integer not null,
    y0 integer not null,
    x1 integer not null,
    y1 integer not null,
    area_pixels integer not null,
    peak_score double precision not null,
    embedding vector not null,
    primary key (category_id, defect_id, number),
    foreign key (category_id, defect_id) references defect on delete cascade
);

create view defect_regions with (security_barrier) as
select
    category.name as category, defect.name, defect_region.number, defect.label as defect_label,
    defect.synthetic, defect_region.embedding, defect_region.x0, defect_region.y0,
    defect_region.x1, defect_region.y1, defect_region.area_pixels, defect_region.peak_score,
    category_id, bank.version
from category
join bank using (category_id)
join defect using (category_id, extractor_fingerprint)
join defect_region using (category_id, defect_id)
where bank.state = 'active';

-- Roles that may read defects may also read their regions.
do $$
declare
    reader record;
begin
    for reader in
        select grantee::regrole::text as name
        from pg_class, aclexplode(relacl)
        where oid = 'patchbank.defect'::regclass and privilege_type = 'SELECT'
            and grantee <> relowner and grantee <> 0
    loop
        execute format('grant select on defect_region, defect_regions to %s', reader.name);
    end loop;
end
$$;
