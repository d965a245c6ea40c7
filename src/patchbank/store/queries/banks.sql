Banks: their versions, references and patches.

-- last_version --
select coalesce(max(version), 0) from bank where category_id = %(category_id)s

-- retire --
update bank set state = 'retired', retired_at = now()
where category_id = %(category_id)s and state = 'active'

-- prune_patches --
-- The version before stays, to go back to it; what is older would only fill the disk.
delete from patch where category_id = %(category_id)s and version < %(version)s - 1

-- prune_references --
delete from reference where category_id = %(category_id)s and version < %(version)s - 1

-- prune_graphs --
delete from quantised_graph where category_id = %(category_id)s and version < %(version)s - 1

-- prune_images --
-- Only those that came as references: what others called anomalous or unknown is theirs. Patches
-- refer to images too, but only to references of their own bank.
delete from image
where category_id = %(category_id)s and label = 'good' and not exists (
    select from reference
    where reference.category_id = image.category_id and reference.image_id = image.image_id
)

-- insert --
insert into bank (
    category_id, version, state, extractor_fingerprint, extractor, settings, calibration,
    coreset_ratio, covering_radius, patch_count, dimensions, image_count, embedding_mean
) values (
    %(category_id)s, %(version)s, 'active', %(extractor_fingerprint)s, %(extractor)s,
    %(settings)s, %(calibration)s, %(coreset_ratio)s, %(covering_radius)s, %(patch_count)s,
    %(dimensions)s, %(image_count)s, %(embedding_mean)s::real[]::vector
)

-- insert_graph --
insert into quantised_graph (category_id, version, content)
values (%(category_id)s, %(version)s, %(content)s)

-- copy_references_in --
copy reference (category_id, version, position, image_id, score, embedding)
from stdin (format binary)

-- copy_patches_in --
copy patch (category_id, version, ordinal, image_id, patch_row, patch_column, feature)
from stdin (format binary)

-- copy_unknown_patches_in --
copy patch (category_id, version, ordinal, feature) from stdin (format binary)

-- active_version --
select category.category_id, bank.version
from patchbank.category
left join patchbank.bank on bank.category_id = category.category_id and bank.state = 'active'
where category.name = %(category)s

-- read --
select
    version, state, extractor_fingerprint, extractor, settings, calibration, coreset_ratio,
    covering_radius, patch_count, dimensions, image_count, created_at, embedding_mean::real[],
    quantised_graph.content
from bank
left join quantised_graph using (category_id, version)
where category_id = %(category_id)s and version = %(version)s

-- active_of --
select version from bank where category_id = %(category_id)s and state = 'active'

-- whole_images --
select
    name, encode(sha256, 'hex'), width, height, thumbnail, label, origin, score,
    encode(pixels_sha256, 'hex')
from reference join image using (category_id, image_id)
where category_id = %(category_id)s and version = %(version)s
order by position

-- history --
select version, state, extractor_fingerprint, coreset_ratio, patch_count, dimensions,
    image_count, created_at, retired_at
from bank
where category_id = %(category_id)s
order by version desc

-- reference_images --
select position, image_id, name, origin, score
from reference join image using (category_id, image_id)
where category_id = %(category_id)s and version = %(version)s
order by position

-- copy_references_out --
-- Whoever reads puts the rows in order; sorting them here would cost more than reading them.
copy (
    select position, embedding
    from reference
    where category_id = %(category_id)s and version = %(version)s
) to stdout (format binary)

-- copy_patches_out --
copy (
    -- Every row has one layout, in which a null has no place.
    select
        ordinal, coalesce(image_id, 0), coalesce(patch_row, (-1)::smallint),
        coalesce(patch_column, (-1)::smallint), feature
    from patch
    where category_id = %(category_id)s and version = %(version)s
) to stdout (format binary)
