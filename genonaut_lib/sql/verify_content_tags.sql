-- name: sums
-- Rows, then pairs and sum of hashes in the arrays and in the junction: one statement, hence one snapshot, in
-- which the triggers' rows are on both sides or on neither.
-- The hash of a pair is that of the tag, seeded by the item, so that tags exchanged between items show.
-- Sums know no order, which is right for sets; they are kept in numeric and cannot overflow. Two
-- different sets with one count and one sum would be a coincidence of about 1 in 2^64. A null array
-- counts as a pair, and so does a null in an array; neither can be in the junction.
select items.rows, items.pairs, links.pairs, coalesce(wanted.hash, 0), coalesce(links.hash, 0)
from (
    select count(*) as rows, coalesce(sum(coalesce(cardinality(tags), 1)), 0)::bigint as pairs
    from {table} where id > %(after)s and id <= %(upto)s
) items, (
    select sum(uuid_hash_extended(tag, id::bigint)) as hash
    from (select id, unnest(tags) as tag from {table} where id > %(after)s and id <= %(upto)s) one
) wanted, (
    select count(*) as pairs, sum(uuid_hash_extended(tag_id, content_id::bigint)) as hash
    from content_tags
    where content_source = %(source)s and content_id > %(after)s and content_id <= %(upto)s
) links;

-- name: sums_once
-- The same with each tag of an array taken once: an array may hold a tag twice, the junction cannot.
select items.rows, items.pairs, links.pairs, coalesce(items.hash, 0), coalesce(links.hash, 0)
from (
    select count(*) as rows, coalesce(sum(once.pairs + (c.tags is null)::int), 0)::bigint as pairs,
           sum(once.hash) as hash
    from {table} c cross join lateral (
        select count(*) as pairs, sum(uuid_hash_extended(tag, c.id::bigint)) as hash
        from (select distinct tag from unnest(c.tags) as tag) kinds
    ) once
    where c.id > %(after)s and c.id <= %(upto)s
) items, (
    select count(*) as pairs, sum(uuid_hash_extended(tag_id, content_id::bigint)) as hash
    from content_tags
    where content_source = %(source)s and content_id > %(after)s and content_id <= %(upto)s
) links;

-- name: keys
-- Pairs that stand on one side only, both ways, in one snapshot.
with wanted as materialized (
    select c.id, tag from {table} c cross join lateral unnest(c.tags) as tag
    where c.id > %(after)s and c.id <= %(upto)s
),
linked as materialized (
    select content_id as id, tag_id as tag from content_tags
    where content_source = %(source)s and content_id > %(after)s and content_id <= %(upto)s
)
select id, tag::text, case when tag is null then 'null' else 'missing' end as problem
from (select id, tag from wanted except select id, tag from linked) missing
union all
select id, tag::text, 'extra' from (select id, tag from linked except select id, tag from wanted) extra
union all
select id, null, 'no array' from {table} where tags is null and id > %(after)s and id <= %(upto)s
order by 1, 2, 3 limit %(limit)s;

-- name: tags_used
-- Tags with an item, one look into the tag index for each instead of counting over the junction.
select count(*) from tags t cross join lateral (
    select from content_tags where tag_id = t.id and content_source = %(source)s limit 1
) one;
