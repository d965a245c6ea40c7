Images held back from a bank.

-- hold --
insert into quarantine (
    category_id, pixels_sha256, name, origin, content, score, reason, held_by
) values (
    %(category_id)s, %(pixels_sha256)s, %(name)s, %(origin)s, %(content)s, %(score)s, %(reason)s, %(held_by)s
)
on conflict (category_id, pixels_sha256) do update set
    name = excluded.name, origin = excluded.origin,
    content = coalesce(excluded.content, quarantine.content), score = excluded.score,
    reason = excluded.reason

-- list --
select name, encode(pixels_sha256, 'hex'), origin, score, reason, held_at, held_by
from quarantine
where category_id = %(category_id)s
order by held_at, name

-- content --
select content from quarantine
where category_id = %(category_id)s and pixels_sha256 = decode(%(pixels_sha256)s, 'hex')

-- release --
delete from quarantine
where category_id = %(category_id)s and encode(pixels_sha256, 'hex') = any(%(pixels_sha256s)s::text[])
returning name
