-- A bank made elsewhere does not say which image an entry came from, nor where in it.
alter table patch alter column image_id drop not null;
alter table patch alter column patch_row drop not null;
alter table patch alter column patch_column drop not null;
