-- Adds the brightness and the sharpness of each reference image, with which those of inspections are
-- compared. They are null for images stored before.
alter table image add column brightness real;
alter table image add column sharpness real;
