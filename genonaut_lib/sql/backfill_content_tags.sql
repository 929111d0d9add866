-- name: batch
-- FOR SHARE: a concurrent retag either happens before, and is read here, or waits, and its trigger runs
-- after us. Without it, a tag removed in between would come back from our older snapshot.
with batch as materialized (
    select id, tags from {table} where id > %(after)s and id <= %(upto)s order by id for share
),
written as (
    insert into content_tags (content_id, content_source, tag_id)
    select b.id, %(source)s, wanted from batch b cross join lateral unnest(b.tags) as wanted
    on conflict do nothing
    returning 1
)
select (select count(*) from batch), (select count(*) from written);

-- name: unknown_ids
-- Ids in the arrays that no tag has; the junction's foreign key would refuse them.
select c.id, wanted from {table} c cross join lateral unnest(c.tags) as wanted
left join tags t on t.id = wanted where t.id is null order by c.id limit 5;

-- name: expected
select coalesce(sum(cardinality(tags)), 0)::bigint from {table};
