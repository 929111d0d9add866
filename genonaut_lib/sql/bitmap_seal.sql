-- name: hold_content
-- lock: ACCESS SHARE on content and junction
-- Before the row of the state: a TRUNCATE locks these tables first and that row second, and whoever takes
-- them the other way round would wait for it for ever.
lock table content_items_all, content_tags in access share mode;

-- name: serving
-- The first statement to take a snapshot. The row is locked to the end, so that no epoch is begun or swapped
-- in between what this batch reads and what it writes.
select serving as epoch, version, chunks, ranks, building is not null as building
from workbench.bitmap_state for update;

-- name: is_serving
select serving is not null from workbench.bitmap_state;

-- name: horizon
-- Items that are newer stay marked: a writer that began earlier may commit later, and an item with a key below
-- the end would have to wait for the next build. So stays what claims to be made in the future.
select (clock_timestamp() - make_interval(secs => %(late_s)s))::text;

-- name: due
-- Marked items, and of them: those that sealing would settle, those that wait for a build, those too new.
with item as (
    select source_type, content_id, bool_or(moved) as moved, count(*) as marks, min(changed_at) as since
    from workbench.bitmap_marks group by 1, 2
), known as (
    select i.*, case
        when c.id is null or (not i.moved and p.ranks[(i.content_id & 127) + 1] is not null) then 'due'
        when c.id < 0 or (c.created_at, c.source_type, c.id) <= (s.end_at, s.end_source, s.end_id)
            then case when p.ranks[(i.content_id & 127) + 1] is not null then 'due' else 'waiting' end
        when c.created_at > %(horizon)s::timestamptz then 'young'
        else 'due' end as verdict
    from item i
    cross join workbench.bitmap_state s
    left join content_items_all c on c.source_type = i.source_type and c.id = i.content_id
    left join workbench.bitmap_places p
        on p.epoch = s.serving and p.source_type = i.source_type and p.block = i.content_id >> 7
)
select coalesce(sum(marks), 0)::bigint as marks, count(*) as items, count(*) filter (where verdict = 'due') as due,
       count(*) filter (where verdict = 'waiting') as waiting, count(*) filter (where verdict = 'young') as young,
       extract(epoch from clock_timestamp() - min(since) filter (where verdict = 'due'))::float8 as oldest_due_s,
       extract(epoch from clock_timestamp() - min(since))::float8 as oldest_s
from known;

-- name: next_items
-- Marked items by their key, those that are gone first. By key, so that of many new ones the oldest are appended
-- first. A time is handed on as text: no Python datetime is infinite.
select i.source_type as source, i.content_id as id, i.moved, i.marks, i.newest::text as newest,
       c.id is not null as present, c.created_at::text as created_at, c.creator_id as creator,
       coalesce(c.is_private, false) as private, p.ranks[(i.content_id & 127) + 1] as rank,
       coalesce(c.id >= 0 and (s.end_at is null
           or (c.created_at, c.source_type, c.id) > (s.end_at, s.end_source, s.end_id)), false) as above,
       coalesce(c.created_at <= %(horizon)s::timestamptz, false) as ripe
from (
    select source_type, content_id, bool_or(moved) as moved, count(*) as marks, max(ctid) as newest
    from workbench.bitmap_marks group by 1, 2
) i
cross join workbench.bitmap_state s
left join content_items_all c on c.source_type = i.source_type and c.id = i.content_id
left join workbench.bitmap_places p
    on p.epoch = s.serving and p.source_type = i.source_type and p.block = i.content_id >> 7
where (coalesce(c.created_at, '-infinity'), i.source_type, i.content_id)
    > (%(after_at)s::timestamptz, %(after_source)s::text, %(after_id)s::integer)
order by coalesce(c.created_at, '-infinity'), i.source_type, i.content_id
limit %(limit)s;

-- name: tags_of_items
-- The numbers of each item's tags, four bytes each, of those tags that have bitmaps. The junction is asked item
-- by item (that is what OFFSET 0 says): the planner cannot know how many there are.
with numbered as materialized (
    select t.id, t.tag_no from tags t join workbench.bitmap_tags b on b.epoch = %(epoch)s and b.tag_no = t.tag_no
)
select w.no::integer - 1, string_agg(int4send(n.tag_no), '')
from unnest(%(junction_sources)s::text[], %(content_ids)s::integer[]) with ordinality w (source, id, no)
cross join lateral (
    select k.tag_id from content_tags k where k.content_id = w.id and k.content_source = w.source offset 0
) k
join numbered n on n.id = k.tag_id
group by w.no;

-- name: count_bitmap_tags
select count(*) from workbench.bitmap_tags where epoch = %(epoch)s;

-- name: bits_of_chunks
-- By the tags, since the primary key begins with them.
select b.tag_no, b.chunk, b.bits
from (select tag_no from workbench.bitmap_tags where epoch = %(epoch)s union values (-1), (-2), (-3)) t
join workbench.tag_bitmaps b on b.epoch = %(epoch)s and b.tag_no = t.tag_no and b.chunk = any(%(chunks)s::integer[]);

-- name: stage_bits
create temporary table sealed_bits (
    tag_no integer, chunk integer, cardinality integer, bits bit(15872), is_new boolean
) on commit drop;

-- name: copy_bits
copy sealed_bits (tag_no, chunk, cardinality, bits, is_new) from stdin (format binary);

-- name: rewrite_bits
update workbench.tag_bitmaps b set cardinality = s.cardinality, bits = s.bits
from sealed_bits s
where b.epoch = %(epoch)s and b.tag_no = s.tag_no and b.chunk = s.chunk and not s.is_new and s.cardinality > 0;

-- name: add_bits
insert into workbench.tag_bitmaps (epoch, tag_no, chunk, cardinality, bits)
select %(epoch)s, tag_no, chunk, cardinality, bits from sealed_bits where is_new;

-- name: drop_bits
delete from workbench.tag_bitmaps b using sealed_bits s
where b.epoch = %(epoch)s and b.tag_no = s.tag_no and b.chunk = s.chunk and s.cardinality = 0;

-- name: members_of_chunks
select chunk, members from workbench.bitmap_chunks where epoch = %(epoch)s and chunk = any(%(chunks)s::integer[]);

-- name: stage_chunks
create temporary table sealed_chunks (
    chunk integer, members bytea, first_at text, first_source text, first_id integer
) on commit drop;

-- name: copy_chunks
copy sealed_chunks (chunk, members, first_at, first_source, first_id) from stdin (format binary);

-- name: rewrite_chunks
-- Members that stay are not written again: they lie in a table of their own, beside the row.
update workbench.bitmap_chunks c set version = %(version)s, members = coalesce(s.members, c.members)
from sealed_chunks s
where c.epoch = %(epoch)s and c.chunk = s.chunk and s.first_at is null;

-- name: add_chunks
insert into workbench.bitmap_chunks (epoch, chunk, version, first_at, first_source, first_id, members)
select %(epoch)s, chunk, %(version)s, first_at::timestamptz, first_source, first_id, members
from sealed_chunks where first_at is not null;

-- name: places_of_blocks
select p.source_type, p.block, p.ranks
from unnest(%(sources)s::text[], %(blocks)s::integer[]) w (source_type, block)
join workbench.bitmap_places p on p.epoch = %(epoch)s and p.source_type = w.source_type and p.block = w.block;

-- name: stage_places
create temporary table sealed_places (
    source_type text, block integer, ranks integer[]
) on commit drop;

-- name: copy_places
copy sealed_places (source_type, block, ranks) from stdin (format binary);

-- name: write_places
insert into workbench.bitmap_places (epoch, source_type, block, ranks)
select %(epoch)s, source_type, block, ranks from sealed_places
on conflict (epoch, source_type, block) do update set ranks = excluded.ranks;

-- name: creators_of_items
select c.creator_id, c.span, c.positions
from (select distinct creator_id, span
      from unnest(%(creators)s::uuid[], %(spans)s::integer[]) w (creator_id, span)) w
join workbench.bitmap_creators c on c.epoch = %(epoch)s and c.creator_id = w.creator_id and c.span = w.span;

-- name: creators_of_spans
select creator_id, span, positions from workbench.bitmap_creators
where epoch = %(epoch)s and span = any(%(spans)s::integer[]);

-- name: stage_creators
create temporary table sealed_creators (
    creator_id uuid, span integer, positions bytea
) on commit drop;

-- name: copy_creators
copy sealed_creators (creator_id, span, positions) from stdin (format binary);

-- name: write_creators
insert into workbench.bitmap_creators (epoch, creator_id, span, positions)
select %(epoch)s, creator_id, span, positions from sealed_creators where positions <> ''
on conflict (epoch, creator_id, span) do update set positions = excluded.positions;

-- name: drop_creators
delete from workbench.bitmap_creators c using sealed_creators s
where c.epoch = %(epoch)s and c.creator_id = s.creator_id and c.span = s.span and s.positions = '';

-- name: take_marks
-- The marks that this snapshot sees, of the items named; of one that waits, all but the newest. Those of writers
-- in flight are not seen, and stay. What the epoch that is being built has not seen, it will need.
with settled as (
    select * from unnest(%(sources)s::text[], %(content_ids)s::integer[], %(keep)s::text[]) h (source_type, content_id, keep)
), taken as (
    delete from workbench.bitmap_marks m using settled h
    where m.source_type = h.source_type and m.content_id = h.content_id and m.ctid is distinct from h.keep::tid
    returning m.*
)
insert into workbench.bitmap_marks_kept (source_type, content_id, moved, changed_by, changed_at)
select t.source_type, t.content_id, t.moved, t.changed_by, t.changed_at
from taken t cross join workbench.bitmap_state s
where s.building is not null and not pg_visible_in_snapshot(t.changed_by, s.building_snapshot);

-- name: advance
update workbench.bitmap_state
set version = version + 1, chunks = %(chunk_count)s, ranks = %(ranks)s, sealed_at = clock_timestamp(),
    end_at = coalesce(%(end_at)s::timestamptz, end_at), end_source = coalesce(%(end_source)s::text, end_source),
    end_id = coalesce(%(end_id)s::integer, end_id);

-- name: vacuum
-- lock: SHARE UPDATE EXCLUSIVE
-- Without ANALYZE, which would read thousands of bitmaps to learn nothing from them.
vacuum {table};
