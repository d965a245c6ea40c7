Answers of people to inspections.

-- part open --
category_id = %(category_id)s and verdict <> 'pass' and not reviewed
    and inspected_at >= coalesce(%(since)s::timestamptz, '-infinity')

-- part columns --
category_id, inspection_id, inspected_at, image_name, encode(sha256, 'hex'), verdict, score,
    coalesce(pass_below, fail_above), fail_above, p_value, regions, similar_images, version, part,
    station,
    exists (
        select from inspection_image
        where inspection_image.category_id = inspection.category_id
            and inspection_image.inspection_id = inspection.inspection_id
            and inspection_image.inspected_at = inspection.inspected_at
    )

-- queue --
select <columns>

from inspection
where <open>
order by inspected_at, inspection_id
limit %(limit)s

-- count --
select count(*) from inspection where <open>

-- inspection --
select <columns>

from inspection
where category_id = %(category_id)s and inspection_id = %(inspection_id)s

-- mark --
-- Before the answer is added: of two at once, the later one counts here and there.
update inspection set reviewed = %(answer)s <> 'undone'
where category_id = %(category_id)s and inspection_id = %(inspection_id)s

-- add --
insert into review (
    category_id, inspection_id, answer, label, actor, pending, added, version
) values (
    %(category_id)s, %(inspection_id)s, %(answer)s, %(label)s, %(actor)s, %(pending)s, %(added)s,
    %(version)s
)
returning review_id, reviewed_at

-- last --
-- Of an inspection, or of the category, by when they were given: the change that follows from an answer
-- adds a row later, perhaps after other answers.
select
    inspection_id, answer, label, actor, reviewed_at, pending, added, version,
    case answer
        when 'good' then exists (
            select from bank
            join reference using (category_id, generation)
            join image using (category_id, image_id)
            where category_id = review.category_id and state = 'active' and name = review.added
                and not exists (
                    select from absent_reference
                    where absent_reference.category_id = bank.category_id
                        and absent_reference.version = bank.version
                        and absent_reference.position = reference.position
                )
        )
        when 'defect' then exists (
            select from defect
            where defect.category_id = review.category_id and defect.name = review.added
        )
        else false
    end
from review
where category_id = %(category_id)s
    and (%(inspection_id)s::bigint is null or inspection_id = %(inspection_id)s)
    and (%(actor)s::text is null or actor = %(actor)s)
    and answer <> 'undone'
    and not exists (
        select from review as later
        where later.category_id = review.category_id
            and later.inspection_id = review.inspection_id
            and later.review_id > review.review_id
    )
    and (not %(pending)s or pending)
order by coalesce(
    (
        select max(review_id) from review as given
        where given.category_id = review.category_id
            and given.inspection_id = review.inspection_id
            and given.review_id < review.review_id and given.pending
            and review.answer = 'good' and not review.pending
    ),
    review_id
) desc
limit %(limit)s

-- labels --
-- By how often they were given.
select label from (
    select label from defect where category_id = %(category_id)s and not synthetic
    union all
    select label from review where category_id = %(category_id)s
) as given
where label is not null
group by label
order by count(*) desc, label
