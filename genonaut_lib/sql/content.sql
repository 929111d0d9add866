-- name: stage
create temporary table incoming_content (
    line integer, source text, title text, content_type text, content_data text, item_metadata jsonb,
    creator text, created_at timestamptz, quality_score double precision, is_private boolean,
    prompt text, tags jsonb
) on commit drop;

-- name: copy_staged
copy incoming_content from stdin;

-- name: insert_users
-- A creator's id comes from data set and name, so that every environment agrees.
insert into users (id, username)
select distinct md5(%(dataset)s || '/' || creator)::uuid, %(dataset)s || '/' || creator
from incoming_content
on conflict do nothing;

-- name: insert_items
insert into {table} (title, content_type, content_data, item_metadata, creator_id, created_at, updated_at,
                     quality_score, is_private, prompt, tags)
select title, content_type, content_data, item_metadata, md5(%(dataset)s || '/' || creator)::uuid,
       created_at, created_at, quality_score, is_private, prompt, tags
from incoming_content where source = %(source)s order by line;
