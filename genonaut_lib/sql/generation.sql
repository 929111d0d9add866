-- name: stage_tags
-- `threshold` is the tag's probability in 2^31 parts.
create temporary table shape_tags (
    no integer, name text, id uuid, modulus integer, remainder integer, threshold bigint
) on commit drop;

-- name: stage_items
create temporary table drawn_items (i bigint, tags jsonb) on commit drop;

-- name: clear_items
truncate drawn_items;

-- name: index_tags
-- lint: allow missing-lock because shape_tags is a temporary table
-- lint: allow ddl-outside-helper because shape_tags is a temporary table
-- lint: allow require-concurrent-index-creation because shape_tags is a temporary table
create unique index on shape_tags (name);
analyze shape_tags;

-- name: drop_indexes
-- lint: allow missing-lock because both tables are empty
-- lint: allow ddl-outside-helper because both tables are empty, and it shares the transaction of the load
-- lint: allow require-concurrent-index-deletion because both tables are empty, and it shares the transaction of the load
drop index if exists
    idx_content_items_tags_gin, idx_content_items_created_at_desc, idx_content_items_creator_created,
    idx_content_items_auto_tags_gin, idx_content_items_auto_created_at_desc, idx_content_items_auto_creator_created;

-- name: insert_creators
insert into users (id, username)
select md5('generated/' || %(seed)s || '/' || no)::uuid, 'creator-' || %(seed)s || '-' || no
from generate_series(0, 199) no on conflict do nothing;

-- name: draw_by_chance
-- Every tag is tried on every item: right for a hundred tags. Text made into JSONB at once costs a
-- third of jsonb_agg; a generated name holds nothing that JSON would escape.
insert into drawn_items (i, tags)
select i, (
    select ('["' || string_agg(t.name, '","') || '"]')::jsonb from shape_tags t
    where i %% t.modulus = t.remainder
      and (hashint8extended(i * 1024 + t.no, %(seed)s::bigint) & 2147483647) < t.threshold
)
from generate_series(%(first)s::bigint, %(last)s::bigint) i;

-- name: draw_by_rank
-- Some tags are drawn for every item, a low rank far more often than a high one: the rank is e to the
-- power of an even draw from 0 to ln(number of tags), which is `rate` times 2^31.
insert into drawn_items (i, tags)
select i, (
    select ('["' || string_agg((%(facets)s::text[])[no %% 6 + 1] || '::tag-' || no, '","') || '"]')::jsonb
    from (
        select distinct exp((hashint8extended(i * 64 + draw, %(seed)s::bigint) & 2147483647) * %(rate)s::float8)::int - 1 as no
        from generate_series(0, 35 + (hashint8extended(i, %(seed)s::bigint + 5) & 31)::int) draw
    ) drawn
)
from generate_series(%(first)s::bigint, %(last)s::bigint) i;

-- name: insert_items
-- About one item in a hundred gets a dirty array, each kind of dirt equally often.
with item as (
    select i, tags, (hashint8extended(i, %(seed)s::bigint + 1) & 1023)::int as dirt,
           %(last_created_at)s - %(spread)s * ((%(items)s - i / %(ties)s * %(ties)s) / %(items)s::double precision) as at,
           (hashint8extended(i, %(seed)s::bigint + 2) & 2147483647) / 2147483648::float8 as draw
    from drawn_items where (i %% %(regular_every)s = 0) = %(regular)s
),
made as (
    insert into {table} (title, content_type, content_data, item_metadata, creator_id, created_at, updated_at,
                         quality_score, is_private, path_thumb, prompt, tags)
    select 'item ' || i, case i %% 3 when 0 then 'text' else 'image' end, 'generated ' || i,
           jsonb_build_object('width', 512 + i %% 8 * 64),
           md5('generated/' || %(seed)s || '/' || floor(power(200::float8, draw) - 1))::uuid, at, at,
           (hashint8extended(i, %(seed)s::bigint + 3) & 1023) / 1024.0, (hashint8extended(i, %(seed)s::bigint + 4) & 31) = 0,
           'thumbs/' || i || '.jpg', 'a picture of item ' || i,
           case dirt
               when 0 then null
               when 1 then '[]'
               when 2 then tags || jsonb_build_array(tags -> 0, tags -> 0)
               when 3 then tags || jsonb_build_array('unlisted-' || i)
               when 4 then tags || jsonb_build_array((select s.id from shape_tags s where s.name = tags ->> 0))
               when 5 then tags || '[42, null, true, {{"name": "nested"}}]'
               when 6 then jsonb_set(tags, '{{0}}', to_jsonb(upper(tags ->> 0)))
               when 7 then jsonb_set(tags, '{{0}}', to_jsonb('  ' || (tags ->> 0) || ' ')) || '["", "   "]'
               when 8 then tags || jsonb_build_array(repeat('long', 60))
               when 9 then tags || jsonb_build_array(md5('nobody' || i)::uuid)
               when 10 then coalesce(tags -> 0, 'null')
               else coalesce(tags, '[]') end
    from item
    returning case when jsonb_typeof(tags) = 'array' then jsonb_array_length(tags) else 0 end as length
)
select coalesce(sum(length), 0) from made;
