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
