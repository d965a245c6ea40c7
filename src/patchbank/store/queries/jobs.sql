Work of minutes that the service does for a client.

-- part columns --
job_id, kind, category, created_by, shown_state, stage, done, total,
extract(epoch from alive_at - stage_begun_at)::float8, error, result, created_at, begun_at, ended_at

-- part shown --
(
    select *, case
        when state in ('waiting', 'running')
            and alive_at < now() - make_interval(secs => %(silence)s)
        then 'interrupted' else state
    end as shown_state
    from patchbank.job
) as job

-- create --
insert into patchbank.job (kind, category, created_by)
values (%(kind)s, %(category)s, %(created_by)s)
returning job_id

-- forget --
delete from patchbank.job
where alive_at < now() - make_interval(days => %(days)s)

-- get --
select <columns> from <shown> where job_id = %(job_id)s

-- page --
select <columns> from <shown>
where (%(category)s::text is null or category = %(category)s)
    and (%(kind)s::text is null or kind = %(kind)s)
    and (%(before)s::bigint is null or job_id < %(before)s)
order by job_id desc
limit %(limit)s

-- begin --
update patchbank.job set state = 'running', begun_at = now(), alive_at = now()
where job_id = %(job_id)s

-- report --
-- The rate is that of the stage: another one begins to count anew.
update patchbank.job
set stage_begun_at = case when stage = %(stage)s then stage_begun_at else now() end,
    stage = %(stage)s, done = %(done)s, total = %(total)s, alive_at = now()
where job_id = %(job_id)s

-- keep_alive --
update patchbank.job set alive_at = now()
where job_id = any(%(job_ids)s)
returning job_id, cancel_asked

-- finish --
update patchbank.job
set state = %(state)s, error = %(error)s, result = %(result)s, ended_at = now(), alive_at = now()
where job_id = %(job_id)s

-- cancel --
update patchbank.job set cancel_asked = true
where job_id = %(job_id)s and state in ('waiting', 'running')
    and alive_at >= now() - make_interval(secs => %(silence)s)
returning true
