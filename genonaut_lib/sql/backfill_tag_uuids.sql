-- name: batch
-- Maps one batch of arrays; a row that somebody wrote meanwhile is no longer null and is left alone.
-- A clean array, all known and no double, costs a look into `common` for each element: no join that the
-- planner could turn round, no sort by place (a function's rows come in the order of the array, and
-- `set_local` keeps count(distinct) from sorting them). Spellings lead to the tag's number and that to its
-- id, since reading a number from text and counting distinct numbers cost half of what they do for ids. Any
-- other array is mapped element by element through indexes, a tag keeping its first place, and is then
-- read once more to write down what became of what. `common` leaves out the spellings that a number, a
-- boolean, an object or an array would have as text, since the cheap look does not tell them from strings.
-- Its ids have no gap, or PostgreSQL would search the array from its beginning each time. What is not in it
-- is looked up without a join: with nested loops off, one would read all tags for each element.
with head as (
    select a.spelling, t.tag_no from (select spelling, tag_id from tag_aliases limit 10000) a join tags t on t.id = a.tag_id
    where a.spelling !~ '^(?:-?[0-9]+(?:[.][0-9]+)?$|true$|false$|[{{[])'
),
common as materialized (
    select (select coalesce(jsonb_object_agg(spelling, tag_no), '{{}}') from head) as numbers,
           (select array_agg(coalesce(t.id, '00000000-0000-0000-0000-000000000000') order by n)
            from generate_series(1, least((select max(tag_no) from tags), 20000)) n left join tags t on t.tag_no = n) as ids
),
policy as materialized (
    select coalesce(bool_or(decision = 'map') filter (where kind = 'not_an_array'), false) as wraps,
           coalesce(bool_or(decision = 'map') filter (where kind = 'duplicate'), true) as merges
    from workbench.tag_policies
),
written as (
    update {table} c set tags = (
        select case when cheap.kinds = cardinality(cheap.tags) then cheap.tags
                    else coalesce((
            select array_agg(tag_id order by position)
            from (select case when jsonb_typeof(e.element) = 'string'
                              then coalesce((select ids from common)[((select numbers from common) ->> (e.element #>> '{{}}'))::int],
                                            (select a.tag_id from tag_aliases a where a.spelling = e.element #>> '{{}}'))
                              else (select s.tag_id from workbench.tag_spellings s
                                    where s.digest = sha256(convert_to(e.element::text, 'UTF8'))) end as tag_id,
                         min(e.position) as position
                  from jsonb_array_elements(
                      case jsonb_typeof(c.tags_old) when 'array' then c.tags_old
                           when 'string' then case when (select wraps from policy) then jsonb_build_array(c.tags_old)
                                                   else '[]' end
                           else '[]' end) with ordinality e (element, position)
                  group by 1) once
            where tag_id is not null), '{{}}') end
        from (select count(distinct e.tag_no) as kinds,
                     array_agg(coalesce((select ids from common)[e.tag_no],
                                        (select t.id from tags t where t.tag_no = e.tag_no))) as tags
              from (select coalesce(((select numbers from common) ->> t.spelling)::int,
                                    (select (select k.tag_no from tags k where k.id = a.tag_id) from tag_aliases a
                                     where a.spelling = t.spelling
                                       and t.spelling !~ '^(?:-?[0-9]+(?:[.][0-9]+)?$|true$|false$|[{{[])')) as tag_no
                    from jsonb_array_elements_text(
                        case jsonb_typeof(c.tags_old) when 'array' then c.tags_old else '[]' end) t (spelling)
                    offset 0) e offset 0) cheap)
    where c.tags is null and c.id > %(after)s and c.id <= %(upto)s
    returning c.id, case coalesce(jsonb_typeof(c.tags_old), 'null')
                    when 'array' then jsonb_array_length(c.tags_old) <> cardinality(c.tags)
                    when 'null' then false else true end as dirty
),
element as materialized (
    select c.id, e.position, e.element, jsonb_typeof(c.tags_old) <> 'array' as bare,
           jsonb_typeof(c.tags_old) = 'array'
               or jsonb_typeof(c.tags_old) = 'string' and (select wraps from policy) as readable
    from written w join {table} c using (id)
    cross join lateral jsonb_array_elements(
        case jsonb_typeof(c.tags_old) when 'array' then c.tags_old else jsonb_build_array(c.tags_old) end)
        with ordinality e (element, position)
    where w.dirty and c.id > %(after)s and c.id <= %(upto)s
),
mapped as (
    select e.*,
           case when not e.readable then null
                when jsonb_typeof(e.element) = 'string'
                then coalesce((select ids from common)[((select numbers from common) ->> (e.element #>> '{{}}'))::int],
                              (select a.tag_id from tag_aliases a where a.spelling = e.element #>> '{{}}'))
                else (select s.tag_id from workbench.tag_spellings s
                      where s.digest = sha256(convert_to(e.element::text, 'UTF8'))) end as tag_id
    from element e
),
numbered as materialized (
    select m.*, row_number() over (partition by id, tag_id order by position) as turn from mapped m
),
quarantined as (
    insert into workbench.unmapped_tags (content_source, content_id, position, element, reason)
    select %(source)s, n.id, n.position, n.element,
           case when not n.readable then 'not_an_array'
                when n.tag_id is not null then 'duplicate'
                else coalesce((select case s.decision when 'quarantine' then s.kind else 'unknown_name' end
                               from workbench.tag_spellings s
                               where s.digest = sha256(convert_to(n.element::text, 'UTF8'))), 'unseen') end
    from numbered n
    where n.tag_id is null or n.turn > 1 and not (select merges from policy)
    on conflict (content_source, content_id, position) do update
    set element = excluded.element, reason = excluded.reason, noted_at = now()
    returning 1
),
repaired as (
    insert into workbench.repaired_tags (content_source, content_id, position, element, kind, tag_id)
    select %(source)s, n.id, n.position, n.element, case when n.bare then 'not_an_array' else 'duplicate' end, n.tag_id
    from numbered n
    where n.tag_id is not null and (n.bare or n.turn > 1 and (select merges from policy))
    on conflict (content_source, content_id, position) do update
    set element = excluded.element, kind = excluded.kind, tag_id = excluded.tag_id, noted_at = now()
    returning 1
)
select (select count(*) from {table} where id > %(after)s and id <= %(upto)s), (select count(*) from written);

-- name: release_late
-- Rows with an element that nobody had judged become "not yet backfilled" again, now that it is judged;
-- a row that somebody wrote meanwhile keeps what was written, and its record says what the element was.
with released as (
    update {table} c set tags = null
    where c.id > %(after)s and c.id <= %(upto)s and exists (
        select from workbench.unmapped_tags u
        where u.content_source = %(source)s and u.content_id = c.id and u.reason = 'unseen'
          and u.element = case jsonb_typeof(c.tags_old) when 'array' then c.tags_old -> (u.position - 1)
                                                        else c.tags_old end)
    returning c.id
), forgotten as (
    delete from workbench.unmapped_tags u using released r
    where u.content_source = %(source)s and u.content_id = r.id returning 1
), unrepaired as (
    delete from workbench.repaired_tags p using released r
    where p.content_source = %(source)s and p.content_id = r.id returning 1
), settled as (
    update workbench.unmapped_tags u
    set reason = coalesce((select case s.decision when 'quarantine' then s.kind else 'unknown_name' end
                           from workbench.tag_spellings s
                           where s.digest = sha256(convert_to(u.element::text, 'UTF8'))), 'unknown_name')
    where u.content_source = %(source)s and u.content_id > %(after)s and u.content_id <= %(upto)s
      and u.reason = 'unseen' and not exists (select from released r where r.id = u.content_id)
    returning 1
)
select (select count(*) from {table} where id > %(after)s and id <= %(upto)s), (select count(*) from released);

-- name: settle_deleted
-- Elements of items that were deleted before anybody judged them.
update workbench.unmapped_tags u set reason = 'unknown_name' where reason = 'unseen';

-- name: unseen
-- Whether the backfill met an element that nobody has judged yet.
select exists (select from workbench.unmapped_tags where reason = 'unseen');

-- name: clear_records
delete from workbench.unmapped_tags;

-- name: clear_repairs
delete from workbench.repaired_tags;

-- name: untagged
-- Whether a row waits for its ids still.
select exists (select from {table} where tags is null);

-- name: unmapped_by_reason
select reason, count(*), count(distinct (content_source, content_id)), min(element::text)
from workbench.unmapped_tags group by reason order by reason;

-- name: balance
-- Elements found, tags written, elements in quarantine, doubles merged, and rows where the first is not the
-- sum of the others. A row with as many tags as elements needs no record: it was clean, or was written
-- since by somebody whose tags the mirror named one by one.
with record as (
    select content_id, count(*) filter (where unmapped) as unmapped, count(*) filter (where not unmapped) as merged
    from (
        select content_id, true as unmapped from workbench.unmapped_tags where content_source = %(source)s
        union all
        select content_id, false from workbench.repaired_tags where content_source = %(source)s and kind = 'duplicate'
    ) places group by content_id
), item as (
    select id, coalesce(cardinality(tags), 0) as written, case coalesce(jsonb_typeof(tags_old), 'null')
           when 'array' then jsonb_array_length(tags_old) when 'null' then 0 else 1 end as elements
    from {table}
)
select coalesce(sum(i.elements), 0)::bigint, coalesce(sum(i.written), 0)::bigint,
       coalesce(sum(r.unmapped) filter (where i.elements <> i.written), 0)::bigint,
       coalesce(sum(r.merged) filter (where i.elements <> i.written), 0)::bigint,
       count(*) filter (where i.elements <> i.written
                          and i.elements <> i.written + coalesce(r.unmapped, 0) + coalesce(r.merged, 0))
from item i left join record r on r.content_id = i.id;

-- name: empty_out
-- Undo, batch by batch: null means "not yet backfilled".
with cleared as (
    update {table} set tags = null where id > %(after)s and id <= %(upto)s and tags is not null returning id
), forgotten as (
    delete from workbench.unmapped_tags u using cleared c
    where u.content_source = %(source)s and u.content_id = c.id returning 1
), unrepaired as (
    delete from workbench.repaired_tags p using cleared c
    where p.content_source = %(source)s and p.content_id = c.id returning 1
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
