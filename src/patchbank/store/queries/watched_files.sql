The files of watched folders that were judged.

-- part given --
unnest(%(names)s::text[], %(sizes)s::bigint[], %(modified)s::bigint[])
    as given (name, size, modified_ns)

-- part same --
watched_file.category_id = %(category_id)s and folder = %(folder)s
    and watched_file.name = given.name and watched_file.size = given.size
    and watched_file.modified_ns = given.modified_ns

-- insert --
insert into patchbank.watched_file (
    category_id, folder, name, size, modified_ns, inspection_id, inspected_at, refused
) values (
    %(category_id)s, %(folder)s, %(name)s, %(size)s, %(modified_ns)s, %(inspection_id)s,
    coalesce(%(inspected_at)s, now()), %(refused)s
)

-- known --
select folder, name, size, modified_ns from watched_file
where category_id = %(category_id)s and folder = %(folder)s

-- pending --
-- A removed inspection has no verdict: its file stays where it is.
select
    folder, name, size, modified_ns, inspection_id, inspected_at, coalesce(refused, ''),
    image_name, verdict, score, coalesce(pass_below, fail_above), fail_above, p_value, version,
    encode(sha256, 'hex'), part, station
from watched_file left join inspection using (category_id, inspection_id, inspected_at)
where category_id = %(category_id)s and folder = %(folder)s and not done
order by inspected_at, inspection_id, name
limit %(limit)s offset %(skip)s

-- finish --
update watched_file set done = true from <given> where <same>

-- forget --
delete from watched_file using <given> where <same>
