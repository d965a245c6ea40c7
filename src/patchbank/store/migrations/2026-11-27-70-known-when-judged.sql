-- Adds to an inspection all else that was known when it was judged: remarks, size of the image, similar
-- defects, what the calibration was based on, and who sent it. Inspections of before have none of it.

alter table inspection
    add column width integer,
    add column height integer,
    add column calibration_images integer,
    add column independent_references integer,
    add column actor text,
    add column likeness jsonb,
    add column similar_defects jsonb,
    add column probable_defect jsonb,
    add column remarks jsonb;

create or replace view inspections as
select
    category.name as category, inspection.inspection_id, inspection.inspected_at,
    inspection.image_name as image, inspection.verdict, inspection.score,
    coalesce(inspection.pass_below, inspection.fail_above) as pass_below, inspection.fail_above,
    inspection.p_value, inspection.regions, inspection.similar_images, inspection.timings_ms,
    encode(inspection.sha256, 'hex') as sha256, category_id, inspection.version,
    inspection.part, inspection.station, inspection.width, inspection.height,
    inspection.calibration_images, inspection.independent_references, inspection.actor,
    inspection.likeness, inspection.similar_defects, inspection.probable_defect,
    inspection.remarks,
    (
        select bank.extractor_fingerprint from bank
        where bank.category_id = inspection.category_id and bank.version = inspection.version
    ) as extractor_fingerprint
from inspection join category using (category_id);
