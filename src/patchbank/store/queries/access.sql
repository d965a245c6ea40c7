Who may use the service.

-- create --
insert into patchbank.access_key (name, role, secret_sha256, created_by)
values (%(name)s, %(role)s, %(secret_sha256)s, %(created_by)s)
on conflict (name) where revoked_at is null do nothing
returning key_id

-- lock_admins --
-- Else two revocations, or one and a new key, would not see each other.
select key_id from patchbank.access_key
where role = 'admin' and revoked_at is null
order by key_id
for update

-- without_admin --
select exists (select from patchbank.access_key where revoked_at is null)
    and not exists (select from patchbank.access_key where revoked_at is null and role = 'admin')

-- list --
select
    key_id, name, role, created_at, created_by, revoked_at, revoked_by,
    (select max(last_at) from patchbank.access_use where access_use.key_id = access_key.key_id
        and outcome = 'allowed')
from patchbank.access_key
order by revoked_at is not null, name, key_id

-- revoke --
update patchbank.access_key set revoked_at = now(), revoked_by = %(revoked_by)s
where name = %(name)s and revoked_at is null
returning key_id

-- any_key --
select exists (select from patchbank.access_key)

-- by_secret --
select key_id, name, role, secret_sha256, revoked_at is not null
from patchbank.access_key
where secret_sha256 = %(secret_sha256)s

-- by_session --
select key_id, name, role, token_sha256, revoked_at is not null
from patchbank.access_session join patchbank.access_key using (key_id)
where token_sha256 = %(secret_sha256)s and expires_at > now()

-- begin_session --
insert into patchbank.access_session (token_sha256, key_id, expires_at)
values (%(token_sha256)s, %(key_id)s, now() + make_interval(secs => %(seconds)s))

-- end_session --
delete from patchbank.access_session where token_sha256 = %(token_sha256)s

-- end_old_sessions --
delete from patchbank.access_session where expires_at < now()

-- use --
insert into patchbank.access_use (hour, key_id, address, action, outcome, times, last_at)
values (
    date_trunc('hour', %(last_at)s::timestamptz, 'utc'), %(key_id)s, %(address)s, %(action)s,
    %(outcome)s, %(times)s, %(last_at)s
)
on conflict (hour, key_id, address, action, outcome) do update set
    times = access_use.times + excluded.times,
    last_at = greatest(access_use.last_at, excluded.last_at)

-- uses --
select hour, coalesce(name, ''), address, action, outcome, times, last_at
from patchbank.access_use left join patchbank.access_key using (key_id)
where %(name)s::text is null or name = %(name)s
order by last_at desc, name, address, action, outcome
limit %(limit)s

-- forget_uses --
delete from patchbank.access_use where hour < now() - make_interval(days => %(days)s)
