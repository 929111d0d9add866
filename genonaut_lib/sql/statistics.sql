-- name: load
-- One statement, hence one snapshot: a refresh is seen whole or not at all. Three kinds of rows: the totals of
-- a source, the slots of its sample that everybody sees, and the cardinality and slots of each tag.
select 'source' as kind, content_source, null::uuid as tag_id, items as figure, null::integer[] as slots, refreshed_at
from workbench.source_statistics
union all
select 'sample', content_source, null, count(*), array_agg(slot) filter (where not is_private), null
from workbench.tag_sample group by content_source
union all
select 'tag', content_source, tag_id, k.cardinality, c.slots, null
from tag_cardinality_stats k
full join (
    select s.content_source, t.tag_id, array_agg(s.slot) as slots
    from workbench.tag_sample s cross join unnest(s.tag_ids) t (tag_id) group by 1, 2
) c using (content_source, tag_id);

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
