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

-- name: mismatches
-- Pairs that stand on one side only, both ways, in one snapshot: live writes raise no false alarm.
(
    (select c.id as content_id, wanted as tag_id, 'missing' as problem
     from {table} c cross join lateral unnest(c.tags) as wanted
     where c.id > %(after)s and c.id <= %(upto)s
     except
     select content_id, tag_id, 'missing' from content_tags
     where content_source = %(source)s and content_id > %(after)s and content_id <= %(upto)s)
    union all
    (select content_id, tag_id, 'extra' from content_tags
     where content_source = %(source)s and content_id > %(after)s and content_id <= %(upto)s
     except
     select c.id, wanted, 'extra' from {table} c cross join lateral unnest(c.tags) as wanted
     where c.id > %(after)s and c.id <= %(upto)s)
) order by content_id, tag_id limit %(limit)s;

-- name: beyond
-- Junction rows of ids outside every chunk: orphans. One snapshot, so a row inserted now is on both sides.
select content_id, tag_id, 'extra' from content_tags
where content_source = %(source)s
  and (content_id > (select coalesce(max(id), 0) from {table}) or content_id < (select coalesce(min(id), 0) from {table}))
order by content_id, tag_id limit %(limit)s;

-- name: unknown_ids
-- Ids in the arrays that no tag has; the junction's foreign key would refuse them.
select c.id, wanted from {table} c cross join lateral unnest(c.tags) as wanted
left join tags t on t.id = wanted where t.id is null order by c.id limit 5;

-- name: counts
select count(*), count(distinct tag_id) from content_tags where content_source = %(source)s;

-- name: expected
select coalesce(sum(cardinality(tags)), 0)::bigint from {table};

-- name: empty_out
-- lint: allow unbounded-write because an undo may be slow, and readers of the junction wait for nothing
delete from content_tags where content_source = %(source)s;
