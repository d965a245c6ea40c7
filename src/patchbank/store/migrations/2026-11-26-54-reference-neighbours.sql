-- Remembers the nearest bank rows of the references' patches, so that a change takes seconds.

-- A cache of what recalibration searched last: the rows of the bank then, and the two nearest rows of
-- every patch of the references, in the format safetensors. It may be deleted at any time.
create table reference_neighbours (
    category_id bigint not null,
    generation integer not null,
    content bytea not null,
    primary key (category_id, generation)
);

alter table reference_neighbours alter column content set storage external;
