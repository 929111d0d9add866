-- name: begin
-- lint: allow unbounded-write because the junction holds only what the arrays hold, and is loaded from them again
-- lint: allow ban-drop-constraint because nobody reads the junction yet, and the same phase builds key and foreign key again
-- lint: allow require-concurrent-index-deletion because the table is empty and its lock is held already
-- lock: ACCESS EXCLUSIVE on content_tags, SHARE ROW EXCLUSIVE on both content tables, for an instant
-- From here on the triggers note which items change instead of writing the junction, so that it can be
-- loaded without indexes. The content tables are locked so that no trigger of the old kind is in
-- flight. What the triggers wrote before is loaded again from the arrays.
lock table content_items, content_items_auto in share row exclusive mode;
create or replace function sync_content_tags() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if tg_op = 'TRUNCATE' then
        insert into workbench.changed_content (content_source, content_id) values (tg_argv[0], null);
    else
        insert into workbench.changed_content (content_source, content_id)
        select tg_argv[0], case tg_op when 'DELETE' then old.id else new.id end
        union select tg_argv[0], old.id where tg_op = 'UPDATE' and old.id <> new.id;
    end if;
    return null;
end
$$;
truncate content_tags;
alter table content_tags set (autovacuum_enabled = off);
alter table content_tags drop constraint if exists content_tags_pkey;
alter table content_tags drop constraint if exists content_tags_tag_id_fkey;
drop index if exists idx_content_tags_tag_src_content;

-- name: is_noting
-- Whether the triggers note changes instead of writing the junction.
select exists (select from pg_proc where oid = to_regproc('public.sync_content_tags')
               and prosrc like '%%changed_content%%');

-- name: load
-- No row locks and no conflicts: whoever changes an item meanwhile has it noted.
with batch as (
    select id, tags from {table} where id > %(after)s and id <= %(upto)s
),
written as (
    insert into content_tags (content_id, content_source, tag_id)
    select id, %(source)s, unnest(tags) from batch
    returning 1
)
select (select count(*) from batch), (select count(*) from written);

-- name: drop_index
-- lint: allow require-concurrent-index-deletion because nobody uses the index yet
-- lock: ACCESS EXCLUSIVE (nobody uses the index yet)
drop index if exists {index};

-- name: build_key
-- lint: allow require-concurrent-index-creation because nobody writes the junction while the triggers note
-- lock: SHARE on content_tags (nobody writes it: the triggers note)
create unique index if not exists content_tags_pkey on content_tags (content_id, content_source, tag_id);

-- name: build_tag_index
-- lint: allow require-concurrent-index-creation because nobody writes the junction while the triggers note
-- lock: SHARE on content_tags (nobody writes it: the triggers note)
create index if not exists idx_content_tags_tag_src_content on content_tags (tag_id, content_source, content_id);

-- name: remove_doubles
-- lint: allow unbounded-write because only items whose array holds a tag twice, and nobody else writes the table meanwhile
-- An array that held a tag twice was loaded twice; the key cannot be built over it. Rare, so it is paid for
-- only when the build has said so.
delete from content_tags t using (
    select ctid, row_number() over (partition by content_id, content_source, tag_id) as number from content_tags
    where (content_id, content_source) in (
        select id, %(source)s from {table} c
        where cardinality(tags) > (select count(distinct tag) from unnest(tags) tag))
) found
where t.ctid = found.ctid and found.number > 1;

-- name: adopt_key
-- lock: ACCESS EXCLUSIVE (catalogue only)
alter table content_tags add constraint content_tags_pkey primary key using index content_tags_pkey;

-- name: add_foreign_key
-- lock: SHARE ROW EXCLUSIVE on content_tags and tags
-- NOT VALID: rows from now on are checked, those there by the validation below.
alter table content_tags add constraint content_tags_tag_id_fkey
    foreign key (tag_id) references tags (id) on delete cascade not valid;

-- name: catch_up
-- Brings the junction rows of noted items to what their arrays hold now. FOR SHARE for the same reason as
-- in the online backfill: whoever retags an item at this moment comes wholly before or wholly after.
with noted as materialized (
    delete from workbench.changed_content where note_id in (
        select note_id from workbench.changed_content
        where content_source = %(source)s and content_id is not null
        order by note_id limit %(rows)s for update skip locked)
    returning content_id
),
ids as materialized (
    select distinct content_id from noted
),
item as materialized (
    select c.id, c.tags from {table} c join ids on ids.content_id = c.id for share of c
),
gone as (
    delete from content_tags t using ids left join item on item.id = ids.content_id
    where t.content_source = %(source)s and t.content_id = ids.content_id
      and (item.id is null or t.tag_id <> all (item.tags))
    returning 1
),
written as (
    insert into content_tags (content_id, content_source, tag_id)
    select item.id, %(source)s, wanted from item cross join lateral unnest(item.tags) as wanted
    on conflict do nothing
    returning 1
)
select (select count(*) from noted), (select count(*) from gone) + (select count(*) from written);

-- name: catch_up_truncated
-- lint: allow unbounded-write because a TRUNCATE names no items; it is rare, and the deletion bounded by what it left behind
-- After a TRUNCATE nobody knows which items went: every junction row without its item goes.
with noted as (
    delete from workbench.changed_content where content_source = %(source)s and content_id is null returning 1
),
gone as (
    delete from content_tags t
    where content_source = %(source)s and exists (select from noted)
      and not exists (select from {table} c where c.id = t.content_id)
    returning 1
)
select (select count(*) from noted), (select count(*) from gone);

-- name: notes
select count(*) from workbench.changed_content;

-- name: clear_notes
-- lock: ROW EXCLUSIVE on the ledger
delete from workbench.changed_content;

-- name: quiesce
-- lock: SHARE ROW EXCLUSIVE on both content tables, for an instant
-- When the lock is had, no trigger that still notes is in flight.
lock table content_items, content_items_auto in share row exclusive mode;

-- name: dangling_tags
-- Tags of junction rows that no longer exist: walks the tag index from one tag to the next.
with recursive used as (
    (select tag_id from content_tags order by tag_id limit 1)
    union all
    select (select t.tag_id from content_tags t where t.tag_id > used.tag_id order by t.tag_id limit 1)
    from used where used.tag_id is not null
)
select tag_id from used where tag_id is not null and not exists (select from tags where id = used.tag_id);

-- name: remove_dangling
-- A tag that was deleted while no foreign key watched takes its relationships with it, as the key would have.
delete from content_tags where tag_id = any (%(tags)s);

-- name: validate_foreign_key
-- lock: SHARE UPDATE EXCLUSIVE on content_tags, ROW SHARE on tags
-- Scans the junction while reads and writes go on.
alter table content_tags validate constraint content_tags_tag_id_fkey;

-- name: watch_again
-- lock: SHARE UPDATE EXCLUSIVE
alter table content_tags reset (autovacuum_enabled);

-- name: empty
-- lint: allow unbounded-write because undo: the arrays hold everything
-- lock: ACCESS EXCLUSIVE on content_tags
-- Undo: the arrays hold everything. One instant instead of deleting row by row.
truncate content_tags;

-- name: restore_key
-- lint: allow constraint-missing-not-valid because the table is empty
-- lint: allow adding-serial-primary-key-field because the table is empty
-- lock: ACCESS EXCLUSIVE (table is empty)
alter table content_tags add constraint content_tags_pkey primary key (content_id, content_source, tag_id);

-- name: index_progress
-- How far the index build of a session is: blocks while it scans the table, then tuples into the tree.
select case when tuples_total > 0 then blocks_total + tuples_done * blocks_total / tuples_total else blocks_done end,
       2 * blocks_total
from pg_stat_progress_create_index where pid = %(pid)s and blocks_total > 0;
