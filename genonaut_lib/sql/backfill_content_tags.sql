-- name: batch
-- An item of which nobody wrote a relationship yet is filled without ON CONFLICT, which would look every
-- row up in the key before it inserts it; others, retagged meanwhile or begun by a start that was undone,
-- are topped up. FOR SHARE: a concurrent retag either happens before, and is read here, or waits, and its
-- trigger runs after us. Without it, a tag removed in between would come back from our older snapshot.
with batch as materialized (
    select id, tags from {table} where id > %(after)s and id <= %(upto)s order by id for share
),
sorted_out as materialized (
    select b.id, b.tags, exists (
        select from content_tags t where t.content_id = b.id and t.content_source = %(source)s) as begun
    from batch b
),
filled as (
    insert into content_tags (content_id, content_source, tag_id)
    select id, %(source)s, unnest(tags) from sorted_out where not begun
),
topped_up as (
    insert into content_tags (content_id, content_source, tag_id)
    select id, %(source)s, unnest(tags) from sorted_out where begun
    on conflict do nothing
    returning 1
)
select count(*), coalesce(sum(cardinality(tags)) filter (where not begun), 0) + (select count(*) from topped_up)
from sorted_out;

-- name: careful_batch
-- The same for a batch in which an array holds a tag twice, or an item got its first tags while we read.
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
