-- Adds uncentred embeddings to the views, beside those centred on the bank's mean.

create or replace view images with (security_barrier) as
select
    category.name as category, image.name, image.label, reference.embedding, reference.score,
    image.width, image.height, image.origin, image.added_at, category_id, version,
    reference.embedding + bank.embedding_mean as raw_embedding
from category
join bank using (category_id)
join reference using (category_id, version)
join image using (category_id, image_id)
where bank.state = 'active';

create or replace view defects with (security_barrier) as
select
    category.name as category, defect.name, 'anomalous' as label, defect.label as defect_label,
    defect.synthetic, defect.embedding - bank.embedding_mean as embedding,
    defect.width, defect.height, defect.origin, defect.added_at, category_id, bank.version,
    defect.embedding as raw_embedding
from category
join bank using (category_id)
join defect using (category_id, extractor_fingerprint)
where bank.state = 'active';
