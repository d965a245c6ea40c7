-- Adds a digest of each image's decoded pixels, which does not depend on how the file was encoded. It
-- is null for images stored before.
alter table image add column pixels_sha256 bytea;
