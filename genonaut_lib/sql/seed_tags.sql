-- name: create_tags
-- lock: none (new table)
-- `tag_no` is a small dense number; `label` keeps the spelling people used most.
create table if not exists tags (
    id uuid primary key,
    tag_no integer not null unique,
    name text not null unique,
    slug text not null unique,
    label text not null,
    created_at timestamptz not null default now()
);

-- name: create_tag_parents
-- lock: SHARE ROW EXCLUSIVE on tags (not in use yet)
create table if not exists tag_parents (
    tag_id uuid not null references tags (id) on delete cascade,
    parent_id uuid not null references tags (id) on delete cascade,
    primary key (tag_id, parent_id),
    check (tag_id <> parent_id)
);

-- name: create_tag_parents_index
-- lock: SHARE on tag_parents (not in use yet)
-- The foreign key to the parent and the walk from a parent to its children both need it.
create index if not exists idx_tag_parents_parent on tag_parents (parent_id);

-- name: create_tag_aliases
-- lock: SHARE ROW EXCLUSIVE on tags (not in use yet)
-- Every spelling that means a tag, exactly as it stands in the data; the backfill joins on it.
create table if not exists tag_aliases (
    spelling text primary key,
    tag_id uuid not null references tags (id) on delete cascade
);

-- name: create_tag_aliases_index
-- lock: SHARE on tag_aliases (not in use yet)
create index if not exists idx_tag_aliases_tag on tag_aliases (tag_id);

-- name: grant_reading
-- lock: none (rights only)
-- Whoever may read the content may read its tags.
select workbench.carry_rights('tags, tag_parents, tag_aliases', 'SELECT', 'select');

-- name: drop_tables
-- lock: ACCESS EXCLUSIVE
drop table if exists tag_aliases, tag_parents, tags;

-- name: observe_spellings
-- Adds the elements of one batch to the known spellings; counted once, since the checkpoint commits with it.
-- A column that holds a bare string is an element only where the policy reads it as one.
with batch as materialized (
    select id, tags from {table} where id > %(after)s and id <= %(upto)s
),
seen as (
    select element, count(*) as uses
    from batch cross join lateral jsonb_array_elements(
        case jsonb_typeof(tags) when 'array' then tags
             when 'string' then case when (select decision from workbench.tag_policies where kind = 'not_an_array') = 'map'
                                     then jsonb_build_array(tags) else '[]' end
             else '[]' end) as element
    group by element
),
kept as (
    insert into workbench.tag_spellings (digest, element, uses)
    select sha256(convert_to(element::text, 'UTF8')), element, uses from seen order by 1
    on conflict (digest) do update set uses = tag_spellings.uses + excluded.uses
    returning 1
)
select (select count(*) from batch), (select count(*) from kept);

-- name: spellings
-- Most used first, so that the first spelling met of a tag is its label; ties by spelling.
select digest, element, element #>> '{{}}', uses from workbench.tag_spellings order by uses desc, element::text collate "C";

-- name: stage_tags
create temporary table if not exists incoming_tags (
    id uuid, name text, slug text, label text, parent_id uuid
) on commit drop;

-- name: stage_spellings
create temporary table if not exists incoming_spellings (
    digest bytea, kind text, decision text, spelling text, tag_id uuid, place bigint
) on commit drop;

-- name: lock_tags
-- tag_no must stay dense, so one transaction at a time gives numbers out.
lock table tags in share row exclusive mode;

-- name: insert_tags
-- A slug that another tag has, or that two new ones would share, gets the head of its id.
with fresh as (
    select i.*, count(*) over (partition by i.slug) as rivals
    from incoming_tags i where not exists (select from tags t where t.id = i.id)
)
insert into tags (id, tag_no, name, slug, label)
select id, (select coalesce(max(tag_no), 0) from tags) + row_number() over (order by name collate "C"), name,
       case when (rivals > 1 and slug <> name) or exists (select from tags t where t.slug = fresh.slug)
            then slug || '-' || left(id::text, 8) else slug end, label
from fresh;

-- name: insert_parents
insert into tag_parents (tag_id, parent_id)
select id, parent_id from incoming_tags where parent_id is not null
on conflict do nothing;

-- name: forget_tags
-- lint: allow unbounded-write because nothing points to the tags yet, and their names are seeded again at once
-- Tags, their parents and aliases made under other policies; nothing else refers to them yet.
delete from tags;

-- name: insert_aliases
-- Most used first: the backfill keeps the head of the table at hand. A spelling that means no tag has no alias.
insert into tag_aliases (spelling, tag_id)
select s.spelling, t.id from incoming_spellings s join tags t on t.id = s.tag_id
where s.spelling is not null order by s.place
on conflict (spelling) do nothing;

-- name: insert_name_aliases
-- A quarantined spelling is no alias, though a tag of that name may be there for another reason.
insert into tag_aliases (spelling, tag_id)
select t.name, t.id from tags t
where not exists (select from workbench.tag_spellings s
                  where s.decision = 'quarantine' and s.digest = sha256(convert_to(to_jsonb(t.name)::text, 'UTF8')))
on conflict (spelling) do nothing;

-- name: settle_spellings
update workbench.tag_spellings k
set kind = s.kind, decision = s.decision, tag_id = t.id
from incoming_spellings s left join tags t on t.id = s.tag_id
where k.digest = s.digest;

-- name: unsettled
-- Spellings that nobody judged, and strings whose alias, which the backfill maps by, does not say what was decided.
select
    (select count(*) from workbench.tag_spellings where kind is null or decision is null)
    + (select count(*) from workbench.tag_spellings s
       left join tag_aliases a on a.spelling = s.element #>> '{{}}'
       where jsonb_typeof(s.element) = 'string' and a.tag_id is distinct from s.tag_id)
    + (select count(*) from workbench.tag_spellings s where (s.decision = 'quarantine') <> (s.tag_id is null));

-- name: counts
select (select count(*) from tags), (select count(*) from tag_parents), (select count(*) from tag_aliases),
       (select count(*) from workbench.tag_spellings);

-- name: forget_spellings
-- lock: ROW EXCLUSIVE on the ledger
-- Counts and checkpoints go together: either without the other would count twice, or leave names out.
delete from workbench.tag_spellings;
delete from workbench.backfills where task = {task};

-- name: all_tags
select id, name from tags order by tag_no;

-- name: meant_tags
-- Tags that some spelling means. One without an alias was made for a late name whose backfill was undone.
select distinct t.id, t.name from tags t join tag_aliases a on a.tag_id = t.id;

-- name: late_spellings
-- What the backfill met and no seeding saw, most used first.
select sha256(convert_to(element::text, 'UTF8')), element, element #>> '{{}}', count(*)
from workbench.unmapped_tags where reason = 'unseen'
group by element order by count(*) desc, element::text collate "C";

-- name: insert_late_spellings
-- A start that was killed may have judged some of them already.
insert into workbench.tag_spellings (digest, element, uses, kind, decision, tag_id, late)
select s.digest, u.element, u.uses, s.kind, s.decision, t.id, true
from incoming_spellings s
join (select sha256(convert_to(element::text, 'UTF8')) as digest, element, count(*) as uses
      from workbench.unmapped_tags where reason = 'unseen' group by element) u on u.digest = s.digest
left join tags t on t.id = s.tag_id
on conflict (digest) do nothing;

-- name: forget_late_aliases
-- lint: allow unbounded-write because only spellings marked late, a handful; undo
-- Undo: the tags stay, since their numbers must stay dense, but no spelling that came late means them.
delete from tag_aliases a using workbench.tag_spellings s
where s.late and (a.spelling = s.element #>> '{{}}' or (s.kind = 'unknown_name' and a.tag_id = s.tag_id));

-- name: forget_late_spellings
delete from workbench.tag_spellings where late;
