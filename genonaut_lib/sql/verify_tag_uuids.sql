-- name: sums
-- Rows, then pairs and sum of hashes that the names mean and that the ids say, in one snapshot; written
-- another way than the backfill, so that one mistake cannot hide in both.
-- An item is plain when its names are an array as long as its ids: nearly all are, and their elements
-- are joined with the spellings as a whole. The few others, those with doubles, quarantined elements or
-- no array, are looked at one by one: each tag once, and each element that became no tag must be in
-- the quarantine with its place. One that is right counts as what it holds, a wrong one as more.
-- Elements are compared as text, so where a spelling reads like a number or another JSON value an item
-- with any such element is not plain either. The names are compressed, and unpacking them costs as much
-- as joining some of them: whether an item is plain is found once and kept. Wherever the table is read, the
-- range is said again, or a join would walk all of it.
with policy as materialized (
    select coalesce(bool_or(decision = 'map'), false) as wraps from workbench.tag_policies where kind = 'not_an_array'
),
item as materialized (
    select id, tags_old, coalesce(
        case jsonb_typeof(tags_old) when 'array' then
            jsonb_array_length(tags_old) = cardinality(tags)
            and (not (select exists (select from tag_aliases
                                     where spelling ~ '^(-?[0-9]+([.][0-9]+)?|true|false|[[].*[]]|[{{].*[}}])$')
                             or exists (select from workbench.tag_policies
                                        where kind = 'not_a_string' and decision = 'map'))
                 or not jsonb_path_exists(tags_old, 'strict $[*] ? (@.type() != "string")'))
        end, false) as plain
    from {table} where id > %(after)s and id <= %(upto)s
),
named as (
    select count(a.tag_id) as pairs, sum(uuid_hash_extended(a.tag_id, e.id::bigint)) as hash
    from (select id, jsonb_array_elements_text(tags_old) as spelling from item where plain) e
    left join tag_aliases a on a.spelling = e.spelling
),
written as (
    select count(*) as pairs, sum(uuid_hash_extended(tag, id::bigint)) as hash
    from (select id, unnest(tags) as tag from {table} where id > %(after)s and id <= %(upto)s) one
),
other as (
    select ids.pairs, ids.hash,
           now.tags is null or ids.nulls > 0 or names.lost > 0 or names.kinds <> ids.kinds
           or names.hash_once is distinct from ids.hash_once as wrong
    from item cross join lateral (
        select tags from {table} where id = item.id and id > %(after)s and id <= %(upto)s
    ) now cross join lateral (
        select count(distinct tag_id) as kinds, sum(distinct uuid_hash_extended(tag_id, item.id::bigint)) as hash_once,
               count(*) filter (where tag_id is null and not exists (
                   select from workbench.unmapped_tags u
                   where u.content_source = %(source)s and u.content_id = item.id
                     and u.position = e.position and u.element = e.element)) as lost
        from (
            select element, position,
                   case when jsonb_typeof(item.tags_old) <> 'array'
                             and not (jsonb_typeof(item.tags_old) = 'string' and (select wraps from policy)) then null
                        when jsonb_typeof(element) = 'string'
                        then (select tag_id from tag_aliases where spelling = element #>> '{{}}')
                        else (select k.tag_id from workbench.tag_spellings k
                              where k.digest = sha256(convert_to(found.element::text, 'UTF8'))) end as tag_id
            from jsonb_array_elements(case coalesce(jsonb_typeof(item.tags_old), 'null')
                                      when 'array' then item.tags_old when 'null' then '[]'
                                      else jsonb_build_array(item.tags_old) end)
                 with ordinality found (element, position)
            offset 0  -- without it each tag would be looked up once for every aggregate
        ) e
    ) names cross join lateral (
        select count(*) as pairs, count(distinct tag) as kinds, count(*) filter (where tag is null) as nulls,
               sum(uuid_hash_extended(tag, item.id::bigint)) as hash,
               sum(distinct uuid_hash_extended(tag, item.id::bigint)) as hash_once
        from unnest(now.tags) as tag
    ) ids
    where not item.plain
),
others as (
    select coalesce(sum(pairs + wrong::int), 0)::bigint as pairs, coalesce(sum(coalesce(hash, 0) + wrong::int), 0) as hash
    from other
)
select (select count(*) from item), named.pairs + others.pairs, written.pairs,
       coalesce(named.hash, 0) + others.hash, coalesce(written.hash, 0)
from named, written, others;

-- name: keys
-- What the names mean and the ids do not say, and the other way round, in one snapshot; and elements
-- that became no tag and are not in the quarantine.
with policy as materialized (
    select coalesce(bool_or(decision = 'map'), false) as wraps from workbench.tag_policies where kind = 'not_an_array'
),
element as materialized (
    select c.id, e.element, e.position,
           case when jsonb_typeof(c.tags_old) <> 'array'
                     and not (jsonb_typeof(c.tags_old) = 'string' and (select wraps from policy)) then null
                when jsonb_typeof(e.element) = 'string'
                then (select tag_id from tag_aliases where spelling = e.element #>> '{{}}')
                else (select k.tag_id from workbench.tag_spellings k
                      where k.digest = sha256(convert_to(e.element::text, 'UTF8'))) end as tag_id
    from {table} c cross join lateral jsonb_array_elements(
        case coalesce(jsonb_typeof(c.tags_old), 'null') when 'array' then c.tags_old when 'null' then '[]'
             else jsonb_build_array(c.tags_old) end) with ordinality e (element, position)
    where c.id > %(after)s and c.id <= %(upto)s
),
said as materialized (
    select c.id, tag from {table} c cross join lateral unnest(c.tags) as tag
    where c.id > %(after)s and c.id <= %(upto)s
)
select id, tag_id::text, 'missing' as problem
from (select id, tag_id from element where tag_id is not null except select id, tag from said) missing
union all
select id, tag::text, case when tag is null then 'null' else 'extra' end
from (select id, tag from said except select id, tag_id from element where tag_id is not null) extra
union all
select id, element::text, 'lost' from element e
where tag_id is null and not exists (
    select from workbench.unmapped_tags u
    where u.content_source = %(source)s and u.content_id = e.id and u.position = e.position and u.element = e.element)
union all
select id, null, 'no array' from {table} where tags is null and id > %(after)s and id <= %(upto)s
order by 1, 2, 3 limit %(limit)s;
