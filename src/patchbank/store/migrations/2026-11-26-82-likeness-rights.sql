-- Whoever may read banks may read what likeness to recorded defects adds to their scores.

do $$
declare
    reader record;
begin
    for reader in
        select grantee::regrole::text as name
        from pg_class, aclexplode(relacl)
        where oid = 'patchbank.bank'::regclass and privilege_type = 'SELECT'
            and grantee <> relowner and grantee <> 0
    loop
        execute format('grant select on likeness to %s', reader.name);
    end loop;
end
$$;
