Patch features of references.

-- copy_in --
copy reference_features (category_id, generation, position, features) from stdin (format binary)

-- read --
select position, features from patchbank.reference_features
where category_id = %(category_id)s and generation = %(generation)s
    and position = any(%(positions)s::integer[])
order by position

-- missing --
-- Of these references, those whose features are not kept.
select position from unnest(%(positions)s::integer[]) as asked (position)
where not exists (
    select from reference_features
    where category_id = %(category_id)s and generation = %(generation)s
        and reference_features.position = asked.position
)
order by position

-- read_neighbours --
select content from patchbank.reference_neighbours
where category_id = %(category_id)s and generation = %(generation)s

-- write_neighbours --
insert into reference_neighbours (category_id, generation, content)
select %(category_id)s, %(generation)s, %(content)s
-- The category may have been removed meanwhile.
where exists (
    select from bank where category_id = %(category_id)s and version = %(generation)s
)
on conflict (category_id, generation) do update set content = excluded.content
