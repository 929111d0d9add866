-- name: begin
-- In the ranking's own transaction, and its first statement: no sealing commits between the snapshot and its
-- end, so every mark that this snapshot does not see is there at the swap, or kept for it.
select epochs + 1 as epoch, version from workbench.bitmap_state for update;

-- name: negative_ids
select source_type, id from content_items_all where id < 0 order by id, source_type limit 5;

-- name: drop_kept_marks
-- What was kept for a build that came to nothing.
delete from workbench.bitmap_marks_kept;

-- name: ranking_memory
-- The ranking is read to its end, so a plan that is quick with the first rows is none. Reading the tables from end
-- to end and sorting once beats following an index to every single row: it takes half the time with all of it in
-- memory, and on a disk an index asks for a page each row.
select set_config('cursor_tuple_fraction', '1', true), set_config('work_mem', '128MB', true),
       set_config('enable_indexscan', 'off', true);

-- name: ranking
-- One value a row, all of one width: numpy takes a whole batch of them apart at once.
select timestamptz_send(created_at) || int4send(id) || boolsend(source_type = %(auto)s) || boolsend(is_private)
       || uuid_send(creator_id)
from content_items_all order by created_at, source_type, id;

-- name: announce
-- The snapshot is this transaction's, the one that the ranks were read in.
update workbench.bitmap_state
set epochs = %(epoch)s, building = %(epoch)s, building_snapshot = pg_current_snapshot(), building_since = now();

-- name: epochs
select building, serving from workbench.bitmap_state;

-- name: members
select chunk, members from workbench.bitmap_chunks
where epoch = %(epoch)s and chunk > %(after)s order by chunk limit 256;

-- name: tags_by_use
-- The tags that get bitmaps, the most used first, and how many items carry them. The junction is counted once.
select t.tag_no, t.id, k.items
from (select tag_id, count(*) as items from content_tags group by tag_id having count(*) >= %(least)s::bigint) k
join tags t on t.id = k.tag_id
order by k.items desc, t.tag_no;

-- name: tags_done
select tag_no from workbench.bitmap_tags where epoch = %(epoch)s and tag_no >= 0;

-- name: claim_tag
-- First in the tag's own transaction, so that what a session left behind by a killed build still writes is waited
-- for, and taken as done when it was.
insert into workbench.bitmap_tags (epoch, tag_no)
select building, %(tag_no)s::integer from workbench.bitmap_state where building = %(epoch)s
on conflict do nothing returning tag_no;

-- name: drop_tags
-- Tags whose bitmaps an earlier start made and this one does not want.
with gone as (
    delete from workbench.bitmap_tags where epoch = %(epoch)s and tag_no = any (%(tag_nos)s::integer[])
)
delete from workbench.tag_bitmaps where epoch = %(epoch)s and tag_no = any (%(tag_nos)s::integer[]);

-- name: content_ids
-- One value instead of a row each: what a row costs on its way is more than what it costs to be found.
select string_agg(int4send(content_id), ''::bytea)
from (select content_id from content_tags
      where tag_id = %(tag_id)s and content_source = %(source)s and content_id > %(after)s
      order by content_id limit %(limit)s) ids;

-- name: lock_state
select building = %(epoch)s from workbench.bitmap_state for update;

-- name: swap
-- The end's key stood in a chunk of its own, -1, while nobody read this epoch.
with built as (
    select coalesce(max(chunk) + 1, 0) as chunks,
           coalesce(max(chunk) * %(ranks_of_chunk)s::integer
                    + (array_agg(length(members) / 4 order by chunk desc))[1], 0) as ranks
    from workbench.bitmap_chunks where epoch = %(epoch)s and chunk >= 0
), last_key as (
    delete from workbench.bitmap_chunks where epoch = %(epoch)s and chunk = -1
    returning first_at, first_source, first_id
)
update workbench.bitmap_state
set serving = building, version = version + 1, building = null, building_since = null, building_snapshot = null,
    chunks = built.chunks, ranks = built.ranks,
    end_at = (select first_at from last_key), end_source = (select first_source from last_key),
    end_id = (select first_id from last_key), built_at = now(), sealed_at = now()
from built where building = %(epoch)s;

-- name: drop_seen_marks
-- What the ranking saw is in the bitmaps; every other mark stays.
delete from workbench.bitmap_marks m using workbench.bitmap_state s
where pg_visible_in_snapshot(m.changed_by, s.building_snapshot);

-- name: bring_marks_back
with kept as (
    delete from workbench.bitmap_marks_kept returning source_type, content_id, moved, changed_by, changed_at
)
insert into workbench.bitmap_marks (source_type, content_id, moved, changed_by, changed_at)
select k.source_type, k.content_id, k.moved, k.changed_by, k.changed_at
from kept k join workbench.bitmap_state s on not pg_visible_in_snapshot(k.changed_by, s.building_snapshot);

-- name: clear_epochs
-- A batch of the rows of epochs that neither serve nor are being built.
delete from {epoch_table}
where ctid = any (array(
    select r.ctid from {epoch_table} r, workbench.bitmap_state s
    where r.epoch is distinct from s.serving and r.epoch is distinct from s.building limit %(limit)s
));

-- name: sizes
-- Rows and bytes, indexes and TOAST included, of each table of the index.
select c.relname, greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid)
from unnest(%(tables)s::text[]) with ordinality wanted (name, place)
join pg_class c on c.oid = to_regclass(wanted.name)
order by wanted.place;

-- name: content_estimate
-- About how many items and relationships there are, as the planner's statistics have it.
select (select coalesce(sum(greatest(reltuples, 0)), 0)::bigint from pg_class
        where oid = any (array[to_regclass('content_items'), to_regclass('content_items_auto')])),
       (select greatest(reltuples, 0)::bigint from pg_class where oid = 'content_tags'::regclass);

-- name: sample_tags
-- How often the tags stand on some pages of the junction.
select count(*) from content_tags tablesample system (%(percent)s) group by tag_id;

-- name: compare_tags
-- Items of some tags by the bitmaps and by the junction, most used first, and how many items are marked: what
-- differs by no more may have changed since. One statement, hence one snapshot.
with drawn as (
    select b.epoch, b.tag_no, t.id, t.name
    from workbench.bitmap_state s join workbench.bitmap_tags b on b.epoch = s.serving
    join tags t on t.tag_no = b.tag_no
    order by hashint8extended(b.tag_no, %(seed)s::bigint) limit %(limit)s
)
select d.name,
       (select coalesce(sum(m.cardinality), 0)::bigint from workbench.tag_bitmaps m
        where m.epoch = d.epoch and m.tag_no = d.tag_no) as sealed,
       (select count(*) from content_tags c where c.tag_id = d.id) as found,
       (select count(*) from (select distinct source_type, content_id from workbench.bitmap_marks) marked)
from drawn d order by sealed desc, d.name;

-- name: cardinalities
-- Items by tag, most used first.
select sum(m.cardinality)::bigint
from workbench.bitmap_state s join workbench.tag_bitmaps m on m.epoch = s.serving and m.tag_no >= 0
group by m.tag_no order by 1 desc;

-- name: standing
-- What serves: epoch, items with a rank, chunks, when it was built, and marks that wait.
select s.serving, s.ranks, s.chunks, s.built_at,
       (select count(*) from workbench.bitmap_tags b where b.epoch = s.serving and b.tag_no >= 0),
       (select count(*) from workbench.bitmap_marks)
from workbench.bitmap_state s where s.serving is not null;
