-- Adds what tells images of the same part from images of others.

alter table image add column texture bytea;
