What was answered to requests that may come again.

-- find --
select request_sha256, answer
from patchbank.answered_request join patchbank.category using (category_id)
where category.name = %(category)s and key_sha256 = %(key_sha256)s
    and answered_at > now() - make_interval(secs => %(seconds)s)

-- insert --
-- One that is as old as answers are kept gives way to a new one.
insert into answered_request (category_id, key_sha256, request_sha256, answer)
values (%(category_id)s, %(key_sha256)s, %(request_sha256)s, %(answer)s)
on conflict (category_id, key_sha256) do update
set request_sha256 = excluded.request_sha256, answer = excluded.answer, answered_at = now()
where answered_request.answered_at <= now() - make_interval(secs => %(seconds)s)
returning true

-- forget --
-- Nobody waits for another transaction that forgets the same.
delete from answered_request
where (category_id, key_sha256) in (
    select category_id, key_sha256 from answered_request
    where category_id = %(category_id)s
        and answered_at <= now() - make_interval(secs => %(seconds)s)
    for update skip locked
)
