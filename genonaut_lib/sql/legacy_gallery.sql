-- name: branch
-- One of the four subqueries of the legacy gallery: a source, and the viewer's items or everybody else's.
select {source} as source_type, c.id, c.title, c.content_type, c.creator_id, u.username, c.quality_score,
       c.is_private, c.path_thumb, c.path_thumbs_alt_res, c.prompt, c.item_metadata, c.tags,
       c.created_at, c.updated_at
from {table} c join users u on u.id = c.creator_id
where {creator} and (not c.is_private or c.creator_id = %(viewer)s) and {tags}

-- name: contains
-- lint: allow unreadable because it is a part of the statement that tuning/legacy_path.py puts together
-- One spelling of a tag; a tag is the OR of all its spellings.
c.tags @> {spelling}

-- name: page
-- lint: allow unreadable because it is a part of the statement that tuning/legacy_path.py puts together
-- Sorted after the union and cut by OFFSET, as the legacy service did it.
select source_type, id from ({branches}) unified
order by created_at desc, source_type desc, id desc limit %(limit)s offset %(offset)s
