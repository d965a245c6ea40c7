The event log.

-- names --
-- Every category that has events or a bank, by id; a removed one's name is in its last event. Last,
-- the newest version of its bank.
select
    category_id,
    coalesce(
        max(category.name),
        max(event.detail ->> 'category') filter (where event.kind = 'remove'),
        'number ' || category_id
    ) as name,
    count(category.category_id) = 0,
    (select max(version) from bank where bank.category_id = coalesced.category_id)
from (select category_id from event union select category_id from bank) as coalesced
    left join category using (category_id)
    left join event using (category_id)
where %(category_id)s::bigint is null or category_id = %(category_id)s
group by category_id
order by name, category_id

-- page --
-- The newest first, of one category.
select
    position, kind, actor, happened_at, detail, encode(hash, 'hex'), encode(previous_hash, 'hex'),
    event_content(category_id, position, kind, actor, happened_at, detail)
from event
where category_id = %(category_id)s and (%(before)s::bigint is null or position < %(before)s)
order by position desc
limit %(limit)s

-- list --
select
    position, kind, actor, happened_at, detail, encode(hash, 'hex'), encode(previous_hash, 'hex'),
    event_content(category_id, position, kind, actor, happened_at, detail)
from event
where category_id = %(category_id)s
order by position
