-- name: page
-- lint: allow unreadable because it is a part of the statement that tuning/plain_gallery.py puts together
-- The gallery as plainly as SQL can say it: everything that matches, in order, cut by OFFSET.
select source_type, id from ({branches}) matching
order by created_at desc, source_type desc, id desc limit %(limit)s offset %(offset)s

-- name: counted_page
-- lint: allow unreadable because it is a part of the statement that tuning/plain_gallery.py puts together
-- The same with how many there are in all, on every row.
select source_type, id, count(*) over () from ({branches}) matching
order by created_at desc, source_type desc, id desc limit %(limit)s offset %(offset)s

-- name: branch
-- The items of one source.
select c.source_type, c.id, c.created_at from content_items_all c
where c.source_type = {partition} and {creator} and (not c.is_private or c.creator_id = %(viewer)s) and {tags}

-- name: carries
-- lint: allow unreadable because it is a part of the statement that tuning/plain_gallery.py puts together
-- Whether the item carries one of the tags.
exists (
    select from content_tags t
    where t.content_id = c.id and t.content_source = {junction} and t.tag_id = any({wanted})
)
