Categories of inspected parts.

-- list --
-- Last, how many inspections there are, up to so many: to count millions takes seconds.
select
    category.category_id, category.name, category.created_at, bank.version, bank.image_count,
    bank.patch_count, bank.created_at,
    (
        select count(*) from (
            select from inspection where inspection.category_id = category.category_id
            limit %(most)s
        ) as counted
    )
from category
left join bank on bank.category_id = category.category_id and bank.state = 'active'
where %(name)s::text is null or category.name = %(name)s
order by category.name

-- estimate_inspections --
explain (format json) select from inspection where category_id = {category_id}

-- names --
select name from patchbank.category order by name

-- ensure --
insert into category (name) values (%(name)s) on conflict (name) do nothing

-- find --
select category_id from category where name = %(name)s

-- lock --
-- Does not block the foreign keys of inspections.
select category_id from category where name = %(name)s for no key update

-- lock_to_remove --
select category_id from category where name = %(name)s for update

-- bank_in_making --
-- A job whose service is silent has ended.
select job_id, kind, state from job
where category = %(name)s and kind = any(%(kinds)s) and state in ('waiting', 'running')
    and alive_at >= now() - make_interval(secs => %(silence)s)
order by job_id
limit 1

-- lock_banks_to_remove --
-- Waits for inspections being recorded, whose foreign key locks the bank.
select from bank where category_id = %(category_id)s for update

-- remove_patches --
delete from patch where category_id = %(category_id)s

-- remove_references --
delete from reference where category_id = %(category_id)s

-- remove_changes_of_patches --
delete from patch_change where category_id = %(category_id)s

-- remove_changes_of_references --
delete from reference_change where category_id = %(category_id)s

-- remove_features --
delete from reference_features where category_id = %(category_id)s

-- remove_neighbours --
delete from reference_neighbours where category_id = %(category_id)s

-- remove_scores --
delete from calibration_score where category_id = %(category_id)s

-- remove_likeness --
delete from likeness where category_id = %(category_id)s

-- remove_graphs --
delete from quantised_graph where category_id = %(category_id)s

-- remove_quarantine --
delete from quarantine where category_id = %(category_id)s

-- remove_defects --
delete from defect where category_id = %(category_id)s

-- remove_reviews --
delete from review where category_id = %(category_id)s

-- remove_watched_files --
delete from watched_file where category_id = %(category_id)s

-- remove_answered_requests --
delete from answered_request where category_id = %(category_id)s

-- remove_outbox --
delete from outbox where category_id = %(category_id)s

-- remove_inspections --
delete from inspection where category_id = %(category_id)s

-- remove_inspection_images --
delete from inspection_image where category_id = %(category_id)s

-- remove_images --
delete from image where category_id = %(category_id)s

-- remove_banks --
delete from bank where category_id = %(category_id)s

-- remove_category --
delete from category where category_id = %(category_id)s

-- add_event --
insert into event (category_id, kind, actor, detail)
values (%(category_id)s, %(kind)s, %(actor)s, %(detail)s)
