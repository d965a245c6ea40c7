-- Chains the events of a category by their hashes, so that a change of the log shows.
-- They are only added to, and stay when their category is removed.

create function event_content(
    category_id bigint, number integer, kind text, actor text, happened_at timestamptz, detail jsonb
) returns text
language sql stable parallel safe
return jsonb_build_array(
    category_id, number, kind, actor,
    to_char(happened_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), detail
)::text;

create function chain_event() returns trigger
language plpgsql
set search_path = patchbank, pg_temp
as $$
begin
    -- Writers of one category wait for one another, else two would follow the same event.
    perform from category where category_id = new.category_id for no key update;
    select position + 1, hash into new.position, new.previous_hash
    from event where category_id = new.category_id
    order by position desc limit 1;
    if new.position is null then
        new.position := 1;
        new.previous_hash := decode(repeat('00', 32), 'hex');
    end if;
    new.hash := sha256(new.previous_hash || convert_to(
        event_content(
            new.category_id, new.position, new.kind, new.actor, new.happened_at, new.detail
        ), 'UTF8'
    ));
    return new;
end
$$;

create function keep_events() returns trigger
language plpgsql as $$
begin
    raise exception 'events are only added to: they are never changed or deleted';
end
$$;

alter table event drop constraint event_category_id_fkey;
alter table event add column position integer;
alter table event add column previous_hash bytea;
alter table event add column hash bytea;

do $$
declare
    found record;
    category bigint := 0;
    number integer;
    previous bytea;
begin
    for found in select * from event order by event.category_id, event.event_id loop
        if found.category_id <> category then
            category := found.category_id;
            number := 0;
            previous := decode(repeat('00', 32), 'hex');
        end if;
        number := number + 1;
        update event
        set position = number, previous_hash = previous, hash = sha256(previous || convert_to(
            event_content(
                found.category_id, number, found.kind, found.actor, found.happened_at, found.detail
            ), 'UTF8'
        ))
        where event.category_id = found.category_id and event.event_id = found.event_id
        returning event.hash into previous;
    end loop;
end
$$;

alter table event alter column position set not null;
alter table event alter column previous_hash set not null;
alter table event alter column hash set not null;
alter table event add unique (category_id, position);

create trigger event_chained before insert on event
    for each row execute function chain_event();
create trigger event_kept before update or delete on event
    for each row execute function keep_events();
create trigger events_kept before truncate on event
    for each statement execute function keep_events();
