-- name: load
-- One statement, hence one snapshot: a refresh is seen whole or not at all. Four kinds of rows of a source: its
-- items; the cardinalities of all tags, as two arrays, since rows by the hundred thousand are dear to read; the
-- size of its sample and the slots that everybody sees; and for each sampled tag the slots that carry it.
select 'items' as kind, content_source, null::uuid as tag_id, null::uuid[] as tag_ids, items as figure,
       null::bigint[] as figures, refreshed_at
from workbench.source_statistics
union all
select 'cardinalities', content_source, null, array_agg(tag_id), null, array_agg(cardinality), null
from tag_cardinality_stats group by content_source
union all
select 'sample', content_source, null, null, count(*), array_agg(slot::bigint) filter (where not is_private), null
from workbench.tag_sample group by content_source
union all
select 'carriers', s.content_source, t.tag_id, null, null, array_agg(s.slot::bigint), null
from workbench.tag_sample s cross join unnest(s.tag_ids) t (tag_id) group by s.content_source, t.tag_id;

-- name: source_counts
-- What is public and not the viewer's own is the community's; private items of others count for nobody.
select t.content_source, coalesce(g.count, 0), t.public_items - coalesce(g.public_count, 0), t.refreshed_at
from workbench.source_statistics t
join unnest(%(junctions)s::text[], %(partitions)s::text[]) s (junction, part) on s.junction = t.content_source
left join gen_source_stats g on g.source_type = s.part and g.user_id = %(viewer)s::uuid;

-- name: refreshed_at
-- Null before the first refresh.
select min(refreshed_at) from workbench.source_statistics;

-- name: totals
-- What the statistics hold of each source, for people.
select content_source, items, public_items, relationships,
       (select count(*) from tag_cardinality_stats k where k.content_source = t.content_source),
       (select count(*) from workbench.tag_sample s where s.content_source = t.content_source)
from workbench.source_statistics t order by content_source desc;

-- name: most_used
-- The most used tags of each source: items that carry one, and items that everybody sees.
select s.junction, t.name, k.cardinality, k.display_count
from unnest(%(junctions)s::text[]) with ordinality s (junction, place)
cross join lateral (
    select tag_id, cardinality, display_count from tag_cardinality_stats
    where content_source = s.junction order by cardinality desc, tag_id limit %(limit)s
) k
join tags t on t.id = k.tag_id
order by s.place, k.cardinality desc, t.name;

-- name: by_rank
-- How many items carry a tag, the most used one first.
select cardinality from tag_cardinality_stats where content_source = %(source)s order by cardinality desc;

-- name: tag_figures
-- The hierarchy of tags in figures. A tag has a level for each length of a way that leads to it, so that the deepest
-- level is the longest way; a circle ends at the bound.
with recursive tops as (
    select distinct e.parent_id as tag_id from tag_parents e
    where not exists (select from tag_parents p where p.tag_id = e.parent_id)
), steps (tag_id, depth) as (
    select tag_id, 0 from tops
    union
    select e.tag_id, s.depth + 1
    from steps s join tag_parents e on e.parent_id = s.tag_id
    where s.depth < %(most)s
)
select (select count(*) from tags) as tags, (select count(*) from tag_parents) as relationships,
       (select count(*) from tops) as roots, (select coalesce(max(depth), 0) from steps) as deepest_level;

-- name: tag_usage
-- What everybody sees of the junction, without reading it: the tags in use, and the relationships, in each source.
select content_source, count(*) filter (where display_count > 0) as used,
       coalesce(sum(display_count), 0)::bigint as relationships
from tag_cardinality_stats group by content_source;
