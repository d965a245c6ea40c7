HNSW indexes of single banks.

-- list --
select
    relname, indisvalid and indisready, pg_relation_size(indexrelid),
    coalesce(obj_description(indexrelid, 'pg_class'), '')
from pg_index join pg_class on pg_class.oid = indexrelid
where relnamespace = 'patchbank'::regnamespace and relname like %(pattern)s

-- lock --
select pg_try_advisory_lock(1885434483, %(key)s)

-- lock_in_transaction --
select pg_try_advisory_xact_lock(1885434483, %(key)s)

-- unlock --
select pg_advisory_unlock(1885434483, %(key)s)

-- create --
create index {concurrently} {name} on patchbank.{table}
using hnsw (({column}::{extension}.{type}({dimensions})) {extension}.{operators})
where category_id = {category_id} and generation = {generation}

-- describe --
-- How it is searched, and how well that did.
comment on index patchbank.{name} is 'ef_search {ef_search}, recall {recall} of 10000'

-- drop --
drop index {concurrently} if exists patchbank.{name}

-- progress --
select coalesce(tuples_done, 0) from pg_stat_progress_create_index where pid = %(pid)s

-- prepare_search --
-- For this transaction. The index is what was asked for, even where the planner thinks that sorting
-- a small bank would be as quick; the costs that forbid sorting would have it compile the query.
select
    set_config('hnsw.ef_search', %(ef_search)s, true),
    set_config('hnsw.iterative_scan', 'relaxed_order', true),
    set_config('enable_sort', 'off', true),
    set_config('enable_seqscan', 'off', true),
    set_config('jit', 'off', true)
