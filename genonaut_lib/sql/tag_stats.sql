-- name: stage_tags
-- One pass over the junction for both sources, shared by parallel workers: CREATE TABLE AS may use them, INSERT
-- may not. Private items are few, so it is their tags that are counted apart and taken off. One statement,
-- hence one snapshot: what is taken off was counted before.
create temporary table staged_tags on commit drop as
select k.tag_id, k.content_source, k.cardinality, k.cardinality - coalesce(h.hidden, 0) as display_count
from (select tag_id, content_source, count(*) as cardinality from content_tags group by 1, 2) k
left join (
    select t.tag_id, t.content_source, count(*) as hidden
    from content_items_all c
    join unnest(%(junctions)s::text[], %(partitions)s::text[]) s (junction, part) on s.part = c.source_type
    join content_tags t on t.content_id = c.id and t.content_source = s.junction
    where c.is_private
    group by 1, 2
) h on h.tag_id = k.tag_id and h.content_source = k.content_source;

-- name: stage_creators
create temporary table staged_creators on commit drop as
select creator_id as user_id, source_type, count(*) as count, count(*) filter (where not is_private) as public_count
from content_items_all group by 1, 2;

-- name: stage_sample
create temporary table staged_sample (
    content_source varchar(10), slot integer, content_id integer, is_private boolean, tag_ids uuid[]
) on commit drop;

-- name: draw_sample
-- The items with the least hashes: each is as likely as any other, and one seed draws the same items from the
-- same content again.
insert into staged_sample (content_source, slot, content_id, is_private, tag_ids)
select {source}, drawn.slot, c.id, c.is_private,
       array(select t.tag_id from content_tags t
             where t.content_id = c.id and t.content_source = {source} order by t.tag_id)
from (
    select id, (row_number() over (order by hash, id) - 1)::integer as slot
    from (
        select id, hashint8extended(id, %(seed)s::bigint) as hash from {table} order by hash, id limit %(items)s
    ) least_hashes
) drawn
join {table} c using (id);

-- name: merge_tags
-- A row that would stay as it is is not written. A tag that goes meanwhile is left out; those that stay are
-- locked against going before the end, as the foreign key would lock them.
insert into tag_cardinality_stats (tag_id, content_source, cardinality, display_count, updated_at)
select s.tag_id, s.content_source, s.cardinality, s.display_count, now()
from staged_tags s
join tags t on t.id = s.tag_id
left join tag_cardinality_stats o on o.tag_id = s.tag_id and o.content_source = s.content_source
where (o.cardinality, o.display_count) is distinct from (s.cardinality, s.display_count)
for key share of t
on conflict (tag_id, content_source) do update
set cardinality = excluded.cardinality, display_count = excluded.display_count, updated_at = excluded.updated_at;

-- name: remove_tags
delete from tag_cardinality_stats
where (tag_id, content_source) in (
    select tag_id, content_source from tag_cardinality_stats except select tag_id, content_source from staged_tags
);

-- name: merge_creators
insert into gen_source_stats (user_id, source_type, count, public_count, updated_at)
select s.user_id, s.source_type, s.count, s.public_count, now()
from staged_creators s
left join gen_source_stats o on o.user_id = s.user_id and o.source_type = s.source_type
where (o.count, o.public_count) is distinct from (s.count, s.public_count)
on conflict (user_id, source_type) do update
set count = excluded.count, public_count = excluded.public_count, updated_at = excluded.updated_at;

-- name: remove_creators
delete from gen_source_stats
where (user_id, source_type) in (
    select user_id, source_type from gen_source_stats except select user_id, source_type from staged_creators
);

-- name: merge_sample
insert into workbench.tag_sample (content_source, slot, content_id, is_private, tag_ids)
select s.content_source, s.slot, s.content_id, s.is_private, s.tag_ids
from staged_sample s
left join workbench.tag_sample o on o.content_source = s.content_source and o.slot = s.slot
where (o.content_id, o.is_private, o.tag_ids) is distinct from (s.content_id, s.is_private, s.tag_ids)
on conflict (content_source, slot) do update
set content_id = excluded.content_id, is_private = excluded.is_private, tag_ids = excluded.tag_ids;

-- name: remove_sample
delete from workbench.tag_sample
where (content_source, slot) in (
    select content_source, slot from workbench.tag_sample except select content_source, slot from staged_sample
);

-- name: merge_totals
-- now() is when the transaction began, before anything was counted: the statistics are no older than they say.
insert into workbench.source_statistics
    (content_source, items, public_items, relationships, sample_seed, refreshed_at)
select s.junction, coalesce(c.items, 0), coalesce(c.public_items, 0), coalesce(r.relationships, 0),
       %(seed)s::bigint, now()
from unnest(%(junctions)s::text[], %(partitions)s::text[]) s (junction, part)
left join (
    select source_type, sum(count)::bigint as items, sum(public_count)::bigint as public_items
    from staged_creators group by source_type
) c on c.source_type = s.part
left join (
    select content_source, sum(cardinality)::bigint as relationships from staged_tags group by content_source
) r on r.content_source = s.junction
on conflict (content_source) do update
set items = excluded.items, public_items = excluded.public_items, relationships = excluded.relationships,
    sample_seed = excluded.sample_seed, refreshed_at = excluded.refreshed_at;

-- name: moment
-- When this transaction began.
select now();

-- name: items_misjudged
-- How many items the junction's planner statistics should know of, where they know of a fifth more or less.
-- ANALYZE guesses the number of distinct ids from a sample, which holds few rows of each, and comes out far too low.
select s.items
from (select sum(items)::bigint as items from workbench.source_statistics) s, pg_attribute a
left join lateral (
    select option_value::numeric as told from pg_options_to_table(a.attoptions) where option_name = 'n_distinct'
) o on true
where a.attrelid = 'content_tags'::regclass and a.attname = 'content_id'
  and s.items > 0 and coalesce(abs(o.told - s.items) > s.items / 5.0, true);

-- name: tell_items
-- lock: SHARE UPDATE EXCLUSIVE on content_tags
-- As a number, not as a share of the rows: PostgreSQL would take a share for a guess.
alter table content_tags alter column content_id set (n_distinct = {items});

-- name: untell_items
-- lock: SHARE UPDATE EXCLUSIVE on content_tags
alter table content_tags alter column content_id reset (n_distinct);
