-- name: batch
-- Maps one batch of arrays; a row that somebody wrote meanwhile is no longer null and is left alone.
-- A tag keeps its first place; only the rare array with a double pays for finding it.
with batch as materialized (
    select id, case coalesce(jsonb_typeof(tags_old), 'null') when 'array' then tags_old when 'null' then '[]'
                    else jsonb_build_array(tags_old) end as elements,
           coalesce(jsonb_typeof(tags_old) not in ('array', 'null'), false) as scalar
    from {table} where id > %(after)s and id <= %(upto)s and tags is null
),
element as materialized (
    select b.id, b.scalar, e.element, e.position, a.tag_id
    from batch b
    cross join lateral jsonb_array_elements(b.elements) with ordinality e (element, position)
    left join tag_aliases a
        on not b.scalar and jsonb_typeof(e.element) = 'string' and a.spelling = e.element #>> '{{}}'
),
mapped as (
    select id, array_agg(tag_id order by position) as tags, count(*) as elements, count(distinct tag_id) as tags_once
    from element where tag_id is not null group by id
),
written as (
    update {table} c set tags = case
        when m.id is null then '{{}}'
        when m.elements = m.tags_once then m.tags
        else (select array_agg(tag_id order by position)
              from (select tag_id, min(position) as position
                    from unnest(m.tags) with ordinality u (tag_id, position) group by tag_id) once)
        end
    from batch b left join mapped m using (id)
    where c.id = b.id and c.tags is null and c.id > %(after)s and c.id <= %(upto)s
    returning c.id
),
stray as materialized (
    select * from element where tag_id is null
),
quarantined as (
    insert into workbench.unmapped_tags (content_source, content_id, position, element, reason)
    select %(source)s, e.id, e.position, e.element,
           case when e.scalar then 'not_an_array'
                when jsonb_typeof(e.element) <> 'string' then 'not_a_string'
                when s.kind is null or s.kind = 'name' then 'unknown_name'
                when s.kind = 'uuid' then 'unknown_uuid'
                else s.kind end
    from stray e
    join written w using (id)
    left join workbench.tag_spellings s on s.digest = sha256(convert_to(e.element::text, 'UTF8'))
    on conflict (content_source, content_id, position) do update
    set element = excluded.element, reason = excluded.reason, noted_at = now()
    returning 1
)
select (select count(*) from {table} where id > %(after)s and id <= %(upto)s), (select count(*) from written);

-- name: untagged
-- Whether a row waits for its ids still.
select exists (select from {table} where tags is null);

-- name: unmapped_by_reason
select reason, count(*), count(distinct (content_source, content_id)), min(element::text)
from workbench.unmapped_tags group by reason order by reason;

-- name: element_counts
-- Elements found in the old arrays and tags in the new ones; their difference is doubles and quarantine.
select coalesce(sum(case when jsonb_typeof(tags_old) = 'array' then jsonb_array_length(tags_old) else 0 end), 0)::bigint,
       coalesce(sum(cardinality(tags)), 0)::bigint
from {table};

-- name: empty_out
-- Undo, batch by batch: null means "not yet backfilled".
with cleared as (
    update {table} set tags = null where id > %(after)s and id <= %(upto)s and tags is not null returning id
), forgotten as (
    delete from workbench.unmapped_tags u using cleared c
    where u.content_source = %(source)s and u.content_id = c.id returning 1
)
select (select count(*) from {table} where id > %(after)s and id <= %(upto)s), (select count(*) from cleared);

-- name: drop_legacy_index
-- lock: SHARE UPDATE EXCLUSIVE
-- Every rewritten row would enter all its old names into this GIN index again, which costs far more
-- than the backfill itself. Tag filters on tags_old scan from here until the junction serves them.
drop index concurrently if exists {index};

-- name: create_legacy_index
-- lock: SHARE UPDATE EXCLUSIVE
create index concurrently if not exists {index} on {table} using gin (tags_old);
