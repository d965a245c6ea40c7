Where inspections are sent to, and which are still to be sent.

-- part columns --
sink_id, name, kind, target, secret, user_name, topic, categories, verdicts

-- add --
insert into patchbank.sink (
    name, kind, target, secret, user_name, topic, categories, verdicts, created_by
) values (
    %(name)s, %(kind)s, %(target)s, %(secret)s, %(user_name)s, %(topic)s, %(categories)s,
    %(verdicts)s, %(created_by)s
)
on conflict (name) do nothing
returning sink_id

-- concerned --
-- Categories whose inspections go to a sink, in the order in which their logs are written.
select category_id from patchbank.category
where %(categories)s::text[] is null or name = any(%(categories)s)
order by category_id

-- remove --
with waiting as (
    select count(*) as count from patchbank.outbox join patchbank.sink using (sink_id)
    where name = %(name)s
)
delete from patchbank.sink using waiting where name = %(name)s
returning waiting.count

-- list --
select
    <columns>, created_at, created_by, delivered, delivered_at, failures, last_error,
    (select count(*) from patchbank.outbox where outbox.sink_id = sink.sink_id),
    (select min(inspected_at) from patchbank.outbox where outbox.sink_id = sink.sink_id),
    -- Of those that the receiver refused, while it took others.
    (select last_error from patchbank.outbox
        where outbox.sink_id = sink.sink_id and last_error is not null
        order by retry_at, inspection_id limit 1)
from patchbank.sink
order by name

-- get --
select <columns> from patchbank.sink where name = %(name)s

-- hold --
-- Those that this process sends to remain its own; others that have something to send become it
-- when nobody has them.
update patchbank.sink
set held_by = %(holder)s, held_until = now() + make_interval(secs => %(seconds)s)
where (held_by = %(holder)s and sink_id = any(%(busy)s))
    or (
        (held_by = %(holder)s or held_until <= now())
        and retry_at <= now()
        and exists (
            select from patchbank.outbox
            where outbox.sink_id = sink.sink_id and outbox.retry_at <= now()
        )
    )
returning <columns>

-- let_go --
update patchbank.sink set held_until = now() where held_by = %(holder)s

-- due --
select outbox.category_id, name, inspection_id, inspected_at, attempts
from patchbank.outbox join patchbank.category using (category_id)
where sink_id = %(sink_id)s and retry_at <= now()
order by retry_at, inspection_id
limit %(limit)s

-- delivered --
delete from patchbank.outbox
using unnest(%(category_ids)s::bigint[], %(inspection_ids)s::bigint[])
    as gone (category_id, inspection_id)
where outbox.category_id = gone.category_id and outbox.inspection_id = gone.inspection_id
    and sink_id = %(sink_id)s

-- refused --
update patchbank.outbox
set attempts = attempts + 1, last_error = %(error)s,
    retry_at = now() + make_interval(secs => %(seconds)s)
where category_id = %(category_id)s and inspection_id = %(inspection_id)s
    and sink_id = %(sink_id)s

-- succeeded --
update patchbank.sink
set delivered = delivered + %(count)s, delivered_at = now(), failures = 0, last_error = null
where sink_id = %(sink_id)s

-- failed --
update patchbank.sink
set failures = failures + 1, last_error = %(error)s,
    retry_at = now() + make_interval(
        secs => greatest(%(seconds)s, least(%(most)s, 2.0 ^ least(failures, 20)))
    )
where sink_id = %(sink_id)s
