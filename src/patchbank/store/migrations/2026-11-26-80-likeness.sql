-- Keeps with a version of a bank what likeness to recorded defects adds to scores.

alter table calibration_score add column added double precision;

alter table bank add column likeness_sha256 bytea;

create table likeness (
    category_id bigint not null,
    sha256 bytea not null,
    content bytea not null,
    primary key (category_id, sha256)
);

create or replace view calibration_scores as
select
    category.name as category, image.name as image, calibration_score.score,
    calibration_score.map_maximum, calibration_score.held_out, calibration_score.counts,
    bank.version, bank.state = 'active' as active, calibration_score.group_number,
    calibration_score.added
from category
join bank using (category_id)
join calibration_score
    on calibration_score.category_id = bank.category_id
    and calibration_score.generation = bank.generation
    and bank.version >= calibration_score.since_version
    and (calibration_score.until_version is null or bank.version < calibration_score.until_version)
left join reference
    on reference.category_id = bank.category_id
    and reference.generation = bank.generation
    and reference.position = calibration_score.position
left join image
    on image.category_id = bank.category_id and image.image_id = reference.image_id
where bank.state <> 'pruned';
