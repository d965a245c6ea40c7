-- Adds the view inspections, and an index that finds the inspections of one verdict.

create index inspection_verdict
    on inspection (category_id, verdict, inspected_at desc, inspection_id desc);

create view inspections as
select
    category.name as category, inspection.inspection_id, inspection.inspected_at,
    inspection.image_name as image, inspection.verdict, inspection.score,
    coalesce(inspection.pass_below, inspection.fail_above) as pass_below, inspection.fail_above,
    inspection.p_value, inspection.regions, inspection.similar_images, inspection.timings_ms,
    encode(inspection.sha256, 'hex') as sha256, category_id, inspection.version
from inspection join category using (category_id);

-- Roles that may read inspections may also read the view.
do $$
declare
    reader record;
begin
    for reader in
        select grantee::regrole::text as name
        from pg_class, aclexplode(relacl)
        where oid = 'patchbank.inspection'::regclass and privilege_type = 'SELECT'
            and grantee <> relowner and grantee <> 0
    loop
        execute format('grant select on inspections to %s', reader.name);
    end loop;
end
$$;
