-- Keeps patch features of references, so that single images can be added and withdrawn.

-- The features of a reference's inspected patches, row by row, as IEEE half-precision numbers, little
-- endian. Missing where they would be too large: the image's file is read again then.
create table reference_features (
    category_id bigint not null,
    generation integer not null,
    position integer not null,
    features bytea not null,
    primary key (category_id, generation, position)
);

-- Such numbers hardly compress.
alter table reference_features alter column features set storage external;
