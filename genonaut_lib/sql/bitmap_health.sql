-- name: standing
-- How the index stands, by its own state; `sealed` are the items that have bits. A build that is at work holds
-- its lock; `done` are the tags it has behind it, `tags` those of the index that serves.
select s.serving, s.version, s.chunks, s.ranks, s.built_at, s.sealed_at, s.building, s.building_since,
       (select coalesce(sum(b.cardinality), 0)::bigint from workbench.tag_bitmaps b
        where b.epoch = s.serving and b.tag_no in (-1, -2)) as sealed,
       (select count(*) from workbench.bitmap_tags t where t.epoch = s.serving and t.tag_no >= 0) as tags,
       (select count(*) from workbench.bitmap_tags t where t.epoch = s.building and t.tag_no >= 0) as done,
       exists (select from pg_locks l
               where l.locktype = 'advisory' and l.granted
                 and l.database = (select oid from pg_database where datname = current_database())
                 and ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended(%(key)s, 0)) as at_work
from workbench.bitmap_state s;

-- name: bytes
-- With indexes and TOAST.
select relname, pg_total_relation_size(oid) from pg_class
where relnamespace = to_regnamespace('workbench') and relkind = 'r' and relname = any(%(tables)s) order by 2 desc, 1;

-- name: extent
select serving, chunks from workbench.bitmap_state;

-- name: marked
select distinct source_type, content_id from workbench.bitmap_marks;

-- name: chunk
-- A chunk's members, and the places its members have.
select c.members,
       array(select p.ranks[(m.id & 127) + 1]
             from unnest(%(sources)s::text[], %(content_ids)s::integer[]) with ordinality m (source, id, no)
             left join workbench.bitmap_places p
                 on p.epoch = c.epoch and p.source_type = m.source and p.block = m.id >> 7
             order by m.no) as places
from workbench.bitmap_chunks c where c.epoch = %(epoch)s and c.chunk = %(chunk)s;

-- name: content
-- What lies between a chunk's first key and the next one's, whether it is sealed there or not; below the first
-- chunk and above the last one there is nothing.
with bounds as (
    select lower.first_at as low_at, lower.first_source as low_source, lower.first_id as low_id,
           coalesce(upper.first_at, 'infinity') as high_at, coalesce(upper.first_source, '~') as high_source,
           coalesce(upper.first_id, 2147483647) as high_id
    from workbench.bitmap_chunks lower
    left join workbench.bitmap_chunks upper on upper.epoch = lower.epoch and upper.chunk = lower.chunk + 1
    where lower.epoch = %(epoch)s and lower.chunk = %(chunk)s
), numbered as materialized (
    select t.id, t.tag_no from tags t join workbench.bitmap_tags b on b.epoch = %(epoch)s and b.tag_no = t.tag_no
)
select c.source_type as source, c.id, c.creator_id as creator, c.is_private as private,
       p.ranks[(c.id & 127) + 1] as rank, k.tag_nos
from bounds b
join content_items_all c
    on (%(chunk)s = 0 or c.created_at >= b.low_at) and c.created_at <= b.high_at
    and (%(chunk)s = 0 or (c.created_at, c.source_type, c.id) >= (b.low_at, b.low_source, b.low_id))
    and (c.created_at, c.source_type, c.id) < (b.high_at, b.high_source, b.high_id)
join unnest(%(junctions)s::text[], %(partitions)s::text[]) s (junction, part) on s.part = c.source_type
left join workbench.bitmap_places p on p.epoch = %(epoch)s and p.source_type = c.source_type and p.block = c.id >> 7
cross join lateral (
    select coalesce(string_agg(int4send(n.tag_no), ''), '') as tag_nos
    from (select tag_id from content_tags where content_id = c.id and content_source = s.junction offset 0) j
    join numbered n on n.id = j.tag_id
) k
order by c.created_at, c.source_type, c.id;

-- name: bits
select tag_no, bits from workbench.tag_bitmaps where epoch = %(epoch)s and chunk = %(chunk)s;

-- name: creators
select creator_id, positions from workbench.bitmap_creators where epoch = %(epoch)s and span = %(span)s;

-- name: names
select tag_no, name from tags where tag_no = any(%(tag_nos)s::integer[]);

-- name: clear_bits
-- Deleted, not truncated: an older snapshot that still sees the index serve reads it to its end.
delete from workbench.tag_bitmaps;

-- name: clear_chunks
delete from workbench.bitmap_chunks;

-- name: clear_places
delete from workbench.bitmap_places;

-- name: clear_creators
delete from workbench.bitmap_creators;

-- name: clear_tags
delete from workbench.bitmap_tags;
