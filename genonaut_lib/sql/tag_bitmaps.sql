-- name: strips
-- Bitmaps of some tags, each in a range of chunks: the chunks' numbers, four bytes each, and their bits, each
-- after its length in four bytes. One value instead of a row each, since a row costs more than its bits.
select w.place, s.chunks, s.bits
from unnest(%(tag_nos)s::integer[], %(lows)s::integer[], %(highs)s::integer[])
     with ordinality w (tag_no, low, high, place)
cross join lateral (
    select string_agg(int4send(b.chunk), ''::bytea) as chunks, string_agg(bit_send(b.bits), ''::bytea) as bits
    from workbench.tag_bitmaps b
    where b.epoch = %(epoch)s::integer and b.tag_no = w.tag_no and b.chunk >= w.low and b.chunk < w.high
) s
where s.chunks is not null;

-- name: changed_chunks
select chunk from workbench.bitmap_chunks where epoch = %(epoch)s::integer and version > %(version)s::bigint;

-- name: creators_spans
-- Where a creator's items lie, in some spans.
select span, positions from workbench.bitmap_creators
where epoch = %(epoch)s::integer and creator_id = %(viewer)s::uuid
  and span >= %(low)s::integer and span < %(high)s::integer;

-- name: members
select chunk, members from workbench.bitmap_chunks
where epoch = %(epoch)s::integer and chunk = any (%(chunks)s::integer[]);

-- name: first_keys
-- Where each chunk begins.
select first_at, first_source, first_id from workbench.bitmap_chunks
where epoch = %(epoch)s::integer order by chunk;

-- name: postings
-- The sealed items of tags without bitmaps, as ranks of four bytes each, in no order.
select t.tag_no, r.ranks
from tags t
cross join lateral (
    select string_agg(int4send(p.ranks[(c.content_id & 127) + 1]), ''::bytea) as ranks
    from unnest(%(junctions)s::text[], %(partitions)s::text[]) w (junction, partition)
    join content_tags c on c.tag_id = t.id and c.content_source = w.junction
    join workbench.bitmap_places p on p.epoch = %(epoch)s::integer and p.source_type = w.partition
                                  and p.block = c.content_id >> 7
    where p.ranks[(c.content_id & 127) + 1] is not null
) r
where t.tag_no = any (%(tag_nos)s::integer[]) and r.ranks is not null;

-- name: place
-- The rank of an item, and whether its created_at is the given one.
select p.ranks[(%(id)s::bigint & 127) + 1],
       exists (select from content_items_all i
               where i.source_type = %(source)s::text and i.id = %(id)s::bigint
                 and i.created_at = %(created_at)s::timestamptz)
from workbench.bitmap_places p
where p.epoch = %(epoch)s::integer and p.source_type = %(source)s::text and p.block = %(id)s::bigint >> 7;

-- name: bitmap_tags
-- Every tag that has bitmaps; what is below 0 is no tag.
select tag_no from workbench.bitmap_tags where epoch = %(epoch)s::integer and tag_no >= 0;

-- name: has_other_tags
select exists (select from tags t
               where not exists (select from workbench.bitmap_tags b
                                 where b.epoch = %(epoch)s::integer and b.tag_no = t.tag_no));

-- name: common_bits
-- How many items of a filter carry each tag that has bitmaps. The filter's bits come chunk by chunk, in binary, since
-- an array would send them as text.
select b.tag_no, sum(bit_count(b.bits & f.bits))::bigint
from unnest(%(chunks)s::integer[], %(bits)b::bit(15872)[]) f (chunk, bits)
join workbench.tag_bitmaps b on b.epoch = %(epoch)s::integer and b.chunk = f.chunk
where b.tag_no >= 0
group by b.tag_no;

-- name: carried_tags
-- How many of some items carry each tag, of `others` those only that have no bitmaps.
select t.tag_no, count(*)
from (select %(regular_junction)s::text as junction, unnest(%(regular_ids)s::integer[]) as id
      union all select %(auto_junction)s::text, unnest(%(auto_ids)s::integer[])) w
join content_tags c on c.content_source = w.junction and c.content_id = w.id
join tags t on t.id = c.tag_id
where not %(others)s::boolean
   or not exists (select from workbench.bitmap_tags b where b.epoch = %(epoch)s::integer and b.tag_no = t.tag_no)
group by t.tag_no;

-- name: tags_numbered
select tag_no, id, name from tags where tag_no = any (%(tag_nos)s::integer[]);
