-- Adds the answers of people to inspections.

create table review (
    category_id bigint not null references category,
    review_id bigint generated always as identity,
    inspection_id bigint not null,
    answer text not null check (answer in ('good', 'defect', 'skip', 'undone')),
    label text,
    actor text not null,
    reviewed_at timestamptz not null default now(),
    -- Whether the change that follows from the answer is still to be made.
    pending boolean not null,
    -- What followed: the reference or the defect that was added, and the bank version it began with.
    added text,
    version integer,
    primary key (category_id, review_id)
);

create index review_inspection on review (category_id, inspection_id, review_id desc);

create view reviews as
select
    category, inspection_id, reviewed_at, answer, label as defect_label, actor, added, version,
    category_id
from (
    select distinct on (review.category_id, review.inspection_id)
        category.name as category, review.*
    from review join category using (category_id)
    order by review.category_id, review.inspection_id, review.review_id desc
) as latest
where answer <> 'undone';

-- Roles that may read inspections may also read the answers.
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
        execute format('grant select on review, reviews to %s', reader.name);
    end loop;
end
$$;
