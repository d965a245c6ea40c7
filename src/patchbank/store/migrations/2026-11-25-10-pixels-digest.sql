-- A digest of each image's decoded pixels: the same picture has the same one, however its file is
-- written. Null for images learned before it was kept.
alter table image add column pixels_sha256 bytea;
