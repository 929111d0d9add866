-- name: insert_items
-- New items, each with the tags of an old one: the newest are models, in turn. Title and ids tell them
-- from whatever else is written meanwhile.
with models as materialized (
    select source_type, id, creator_id, is_private, (row_number() over () - 1)::int as place, count(*) over ()::int as number
    from (
        select source_type, id, creator_id, is_private from content_items_all
        order by created_at desc, source_type desc, id desc limit %(items)s
    ) newest
),
drawn as materialized (
    select nextval('content_items_all_id_seq')::int as new_id, m.* from generate_series(0, %(items)s::int - 1) i
    join models m on m.place = i %% m.number
),
made as (
    insert into content_items_all (id, source_type, title, content_type, content_data, prompt, creator_id, is_private)
    select new_id, source_type, %(title)s, 'text', '', '', creator_id, is_private from drawn
    returning id
),
tagged as (
    insert into content_tags (content_id, content_source, tag_id)
    select d.new_id, t.content_source, t.tag_id
    from drawn d join content_tags t on t.content_id = d.id
     and t.content_source = (%(junctions)s::text[])[array_position(%(partitions)s::text[], d.source_type)]
)
select array_agg(id) from made;

-- name: touch_items
-- One relationship of each of so many items is written as it is: nothing is another, and the items are marked.
-- Items that were made here are marked already.
update content_tags t set tag_id = t.tag_id
from (
    select id, (%(junctions)s::text[])[array_position(%(partitions)s::text[], source_type)] as source
    from content_items_all where title <> %(title)s order by hashint8extended(id, %(seed)s::bigint), source_type limit %(items)s
) picked
cross join lateral (
    select l.tag_id from content_tags l where l.content_id = picked.id and l.content_source = picked.source limit 1
) link
where t.content_id = picked.id and t.content_source = picked.source and t.tag_id = link.tag_id;

-- name: delete_items
delete from content_items_all where id = any(%(made)s::int[]) and title = %(title)s;

-- name: insert_one
-- What an application does for one new item, first half.
insert into content_items_all (source_type, title, content_type, content_data, prompt, creator_id, is_private)
values (%(source)s, %(title)s, 'text', '', '', %(creator)s, false) returning id;

-- name: tag_one
-- And the second half: all its tags in one statement.
insert into content_tags (content_id, content_source, tag_id) select %(id)s, %(source)s, unnest(%(tags)s::uuid[]);

-- name: some_tags
-- Tags to write items with, most used first.
select tag_id from tag_cardinality_stats group by tag_id order by sum(cardinality) desc, tag_id limit %(limit)s;

-- name: marking_triggers
-- Those that mark what changes, on the tables that statements name; partitions' copies follow.
select t.tgrelid::regclass::text, t.tgname from pg_trigger t
join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace
where n.nspname = 'workbench' and p.proname in ('mark_content', 'mark_links') and not t.tgisinternal
order by 1, 2;

-- name: disarm
-- lock: SHARE ROW EXCLUSIVE (between two rounds of a measurement, in a database of its own)
alter table {table} disable trigger {trigger};

-- name: rearm
-- lock: SHARE ROW EXCLUSIVE (between two rounds of a measurement, in a database of its own)
alter table {table} enable trigger {trigger};

-- name: sizes
-- Bytes of each table of the index: all of it, and its indexes alone.
select c.relname, pg_total_relation_size(c.oid), pg_indexes_size(c.oid) from pg_class c
where c.relnamespace = 'workbench'::regnamespace and c.relkind = 'r'
  and (c.relname like 'bitmap\_%%' or c.relname = 'tag_bitmaps')
order by 2 desc, 1;

-- name: junction_size
select pg_total_relation_size('content_tags');

-- name: read_junction
-- What the build cannot do without: all relationships, once.
select count(*), sum(content_id::bigint) from content_tags;

-- name: mark_count
-- Marked items, each once.
select count(*) from (select distinct source_type, content_id from workbench.bitmap_marks) marked;

-- name: make_tags
-- Tags of the simulated gallery, numbered from 1.
insert into tags (id, tag_no, name, slug, label)
select unnest(%(ids)s::uuid[]), unnest(%(numbers)s::int[]), unnest(%(labels)s::text[]), unnest(%(labels)s::text[]),
       unnest(%(labels)s::text[]);

-- name: list_tags
insert into workbench.bitmap_tags (epoch, tag_no) select 1, unnest(%(numbers)s::int[]) on conflict do nothing;

-- name: serve
-- The first chunks of what was made are the whole of the simulated gallery from now on.
update workbench.bitmap_state
set epochs = 1, version = version + 1, serving = 1, chunks = %(chunk_count)s, ranks = %(ranks)s, end_at = %(end_at)s,
    end_source = %(source)s, end_id = %(ranks)s - 1, built_at = now(), sealed_at = now();

-- name: settle_bitmaps
-- lock: SHARE UPDATE EXCLUSIVE
vacuum (analyze) workbench.tag_bitmaps, workbench.bitmap_chunks;
