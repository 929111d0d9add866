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
-- lock: none (new table)
create table if not exists tag_parents (
    tag_id uuid not null references tags (id) on delete cascade,
    parent_id uuid not null references tags (id) on delete cascade,
    primary key (tag_id, parent_id),
    check (tag_id <> parent_id)
);

-- name: create_tag_parents_index
-- lock: none (new table)
-- The foreign key to the parent and the walk from a parent to its children both need it.
create index if not exists idx_tag_parents_parent on tag_parents (parent_id);

-- name: create_tag_aliases
-- lock: none (new table)
-- Every spelling that means a tag, exactly as it stands in the data; the backfill joins on it.
create table if not exists tag_aliases (
    spelling text primary key,
    tag_id uuid not null references tags (id) on delete cascade
);

-- name: create_tag_aliases_index
-- lock: none (new table)
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
with batch as materialized (
    select id, tags from {table} where id > %(after)s and id <= %(upto)s
),
seen as (
    select element, count(*) as uses
    from batch cross join lateral jsonb_array_elements(
        case when jsonb_typeof(tags) = 'array' then tags else '[]' end) as element
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
select digest, element, uses from workbench.tag_spellings order by uses desc, element::text collate "C";

-- name: stage_tags
create temporary table if not exists incoming_tags (
    id uuid, name text, slug text, label text, parent_id uuid
) on commit drop;

-- name: stage_spellings
create temporary table if not exists incoming_spellings (
    digest bytea, kind text, spelling text, tag_id uuid
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

-- name: insert_aliases
-- A UUID string means the tag with that id, and nothing when there is none.
insert into tag_aliases (spelling, tag_id)
select s.spelling, t.id from incoming_spellings s join tags t on t.id = s.tag_id
where s.spelling is not null
on conflict (spelling) do nothing;

-- name: insert_name_aliases
insert into tag_aliases (spelling, tag_id) select name, id from tags on conflict (spelling) do nothing;

-- name: settle_spellings
update workbench.tag_spellings k
set kind = s.kind, tag_id = t.id
from incoming_spellings s left join tags t on t.id = s.tag_id
where k.digest = s.digest;

-- name: unsettled
-- Spellings that nobody judged, and names without the alias that the backfill joins on.
select
    (select count(*) from workbench.tag_spellings where kind is null)
    + (select count(*) from workbench.tag_spellings s
       where s.kind = 'name' and not exists (
           select from tag_aliases a where a.spelling = s.element #>> '{{}}' and a.tag_id = s.tag_id));

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
