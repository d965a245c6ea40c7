HNSW indexes of banks.

-- list --
-- Missing and unfinished indexes are not valid.
select
    indexed, category_id, generation, type, dimensions, metric, ef_search, recall,
    coalesce(indisvalid and indisready, false), coalesce(pg_relation_size(indexrelid), 0)
from patchbank.hnsw_index
left join (pg_index join pg_class on pg_class.oid = indexrelid)
    on relname = name and relnamespace = 'patchbank'::regnamespace
where category_id = %(category_id)s
order by name

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

-- remember --
insert into patchbank.hnsw_index (
    category_id, generation, indexed, metric, type, dimensions, ef_search, recall, name
)
values (
    %(category_id)s, %(generation)s, %(on)s, %(metric)s, %(type)s, %(dimensions)s,
    %(least_ef_search)s, %(recall)s, %(name)s
)

-- record --
update patchbank.hnsw_index set recall = %(recall)s
where category_id = %(category_id)s and name = %(name)s

-- remove --
delete from patchbank.hnsw_index where category_id = %(category_id)s and name = %(name)s

-- drop --
drop index {concurrently} if exists patchbank.{name}

-- progress --
select coalesce(tuples_done, 0) from pg_stat_progress_create_index where pid = %(pid)s

-- prepare_search --
-- For this transaction: force the index, even if the planner prefers to sort a small bank. The costs
-- of disabled plans would trigger JIT compilation, so it is off.
select
    set_config('hnsw.ef_search', %(ef_search)s, true),
    set_config('hnsw.iterative_scan', 'relaxed_order', true),
    set_config('enable_sort', 'off', true),
    set_config('enable_seqscan', 'off', true),
    set_config('jit', 'off', true)
