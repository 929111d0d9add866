-- name: tag_uses
-- How often each tag stands in the legacy arrays, most used first; facets without an item are left out.
select t.id, t.name, sum(s.uses)::bigint as uses
from workbench.tag_spellings s join tags t on t.id = s.tag_id
group by t.id, t.name order by uses desc, t.name;

-- name: item_count
select (select count(*) from content_items) + (select count(*) from content_items_auto);

-- name: busiest_creator
select creator_id from (
    select creator_id from content_items union all select creator_id from content_items_auto
) both_sources group by creator_id order by count(*) desc, creator_id limit 1;

-- name: spellings
select a.tag_id, to_jsonb(a.spelling) from tag_aliases a where a.tag_id = any(%(tags)s) order by a.spelling;

-- name: record
insert into workbench.measurements
    (moment, case_name, path, query, row_keys, p50_ms, p95_ms, samples)
values (%(moment)s, %(case_name)s, %(path)s, %(query)s, %(row_keys)s, %(p50_ms)s, %(p95_ms)s, %(samples)s);

-- name: newest
-- The newest measurement of every case at a moment, in the order they were measured.
select case_name, path, query, row_keys, p50_ms, p95_ms, samples from (
    select distinct on (case_name) * from workbench.measurements
    where moment = %(moment)s order by case_name, measurement_id desc
) newest order by measurement_id;
