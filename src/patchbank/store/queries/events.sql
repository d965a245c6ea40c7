The event log.

-- names --
-- Every category that has events, by id; a removed one's name is in its last event.
select
    event.category_id,
    coalesce(
        max(category.name),
        max(event.detail ->> 'category') filter (where event.kind = 'remove'),
        'number ' || event.category_id
    ) as name,
    count(category.category_id) = 0
from event left join category using (category_id)
where %(category_id)s::bigint is null or event.category_id = %(category_id)s
group by event.category_id
order by name, event.category_id

-- list --
select
    position, kind, actor, happened_at, detail, encode(hash, 'hex'), encode(previous_hash, 'hex'),
    event_content(category_id, position, kind, actor, happened_at, detail)
from event
where category_id = %(category_id)s
order by position
