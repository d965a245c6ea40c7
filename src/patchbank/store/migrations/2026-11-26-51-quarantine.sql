-- Lists images held back from a bank until a person confirms that they show good parts.

-- Images that were to be added to a bank and look defective: held until they are confirmed or
-- dismissed. The content is kept of images that were not given as files.
create table quarantine (
    category_id bigint not null references category,
    -- Of the decoded pixels.
    pixels_sha256 bytea not null,
    name text not null,
    origin text,
    content bytea,
    score double precision not null,
    reason text not null,
    held_at timestamptz not null default now(),
    held_by text not null,
    primary key (category_id, pixels_sha256)
);

alter table quarantine alter column content set storage external;
