-- Adds to an inspection whether a person answered to it, with indexes for lists of those and of those that
-- wait for an answer.

alter table inspection add column reviewed boolean not null default false;

update inspection set reviewed = true
from (
    select distinct on (category_id, inspection_id) category_id, inspection_id, answer
    from review
    order by category_id, inspection_id, review_id desc
) as latest
where answer <> 'undone' and inspection.category_id = latest.category_id
    and inspection.inspection_id = latest.inspection_id;

create index inspection_reviewed
    on inspection (category_id, verdict, inspected_at desc, inspection_id desc)
    where reviewed;
create index inspection_unreviewed
    on inspection (category_id, verdict, inspected_at desc, inspection_id desc)
    where not reviewed and verdict <> 'pass';
