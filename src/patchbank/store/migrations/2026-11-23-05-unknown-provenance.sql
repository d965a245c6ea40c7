-- Allows patches without an image and position, as in banks made by other programs.
alter table patch alter column image_id drop not null;
alter table patch alter column patch_row drop not null;
alter table patch alter column patch_column drop not null;
