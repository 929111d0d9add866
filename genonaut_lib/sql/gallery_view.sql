-- name: create
-- lock: ACCESS SHARE on users, both content tables and content_tags
-- lint: allow require-concurrent-index-creation because the view is new and holds no row yet
-- The view that the gallery had before, over the partition keys and with the tags of the junction, since the arrays are stale after
-- the cut over. The unique index lets REFRESH CONCURRENTLY find what changed; the others are those it had.
create materialized view unified_content_with_tags as
select 'items'::text as source_type, i.id, i.title, i.content_type, i.creator_id, u.username as creator_username,
       i.created_at, i.updated_at, i.quality_score, i.is_private, i.path_thumb, i.path_thumbs_alt_res, i.prompt,
       i.item_metadata,
       array(select t.tag_id from content_tags t
             where t.content_id = i.id and t.content_source = 'regular' order by t.tag_id) as tags
from content_items i join users u on u.id = i.creator_id
union all
select 'auto'::text, a.id, a.title, a.content_type, a.creator_id, u.username,
       a.created_at, a.updated_at, a.quality_score, a.is_private, a.path_thumb, a.path_thumbs_alt_res, a.prompt,
       a.item_metadata,
       array(select t.tag_id from content_tags t
             where t.content_id = a.id and t.content_source = 'auto' order by t.tag_id)
from content_items_auto a join users u on u.id = a.creator_id
with no data;
create unique index idx_unified_pk on unified_content_with_tags (source_type, id);
create index idx_unified_tags_gin on unified_content_with_tags using gin (tags);
create index idx_unified_creator_created on unified_content_with_tags (creator_id, created_at desc);
create index idx_unified_created on unified_content_with_tags (created_at desc);
comment on materialized view unified_content_with_tags is 'genonaut workbench, never refreshed';
select workbench.carry_rights('unified_content_with_tags', 'SELECT', 'select');

-- name: state
-- One row where something is called so: whether it is the view made above, and when it was refreshed last.
select c.relkind = 'm' and coalesce(starts_with(obj_description(c.oid, 'pg_class'), 'genonaut workbench, '), false),
       case when c.relkind = 'm' and c.relispopulated then
           substring(obj_description(c.oid, 'pg_class') from '^genonaut workbench, refreshed at (.+)$')::timestamptz
       end
from pg_class c where c.oid = to_regclass('public.unified_content_with_tags');

-- name: fill
-- lock: ACCESS EXCLUSIVE on unified_content_with_tags (nobody reads it before it is filled)
-- The first time; there is nothing to compare with yet.
refresh materialized view unified_content_with_tags;

-- name: refresh
-- lock: EXCLUSIVE on unified_content_with_tags
-- lint: allow concurrently-in-transaction because PostgreSQL takes this one in a transaction block, unlike those on indexes
-- Readers go on with what it held before.
refresh materialized view concurrently unified_content_with_tags;

-- name: date
-- lock: SHARE UPDATE EXCLUSIVE on unified_content_with_tags
-- Sent in one transaction with the refresh, whose rows are at least as new as the moment that began.
do $$
begin
    execute 'comment on materialized view unified_content_with_tags is ' || quote_literal(
        'genonaut workbench, refreshed at '
        || to_char(transaction_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
end
$$;

-- name: drop
-- lock: ACCESS EXCLUSIVE on unified_content_with_tags
-- lint: allow ban-drop-view because readers fall back on the tables it was made of
drop materialized view unified_content_with_tags;
