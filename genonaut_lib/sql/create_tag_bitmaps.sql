-- name: create_state
-- lock: none (new table)
-- One row. `serving` is the epoch that readers use; null: there is no index. `version` rises with every
-- change of what is sealed. The end is the key of the last rank. No tag without bitmaps is carried by more than
-- `rare_most` sealed items. While an epoch is built, `building` names
-- it, and every change that `building_snapshot` does not see is one it will need as a mark.
create table if not exists workbench.bitmap_state (
    singleton boolean primary key default true check (singleton),
    epochs integer not null default 0,
    version bigint not null default 0,
    serving integer,
    chunks integer not null default 0,
    ranks integer not null default 0,
    rare_most integer not null default 0,
    end_at timestamptz,
    end_source text,
    end_id integer,
    built_at timestamptz,
    sealed_at timestamptz,
    building integer,
    building_snapshot pg_snapshot,
    building_since timestamptz
);
insert into workbench.bitmap_state default values on conflict do nothing;
select workbench.carry_rights('workbench.bitmap_state', 'SELECT', 'select');
-- A right on a table is worth nothing without one on its schema; the ledger's tables stay closed.
select workbench.carry_rights('schema workbench', 'SELECT', 'usage');

-- name: create_chunks
-- lock: none (new table)
-- The items of a chunk by position: four bytes each, most significant first, the id of a regular item and
-- its complement, -id - 1, of an auto one; a chunk number rises with the rank. `first_*` is the key of the first position.
create table if not exists workbench.bitmap_chunks (
    epoch integer not null,
    chunk integer not null,
    version bigint not null,
    first_at timestamptz not null,
    first_source text not null,
    first_id integer not null,
    members bytea not null,
    primary key (epoch, chunk)
);
-- Uncompressed, so that reading it is copying it.
alter table workbench.bitmap_chunks alter column members set storage external;
select workbench.carry_rights('workbench.bitmap_chunks', 'SELECT', 'select');

-- name: create_places
-- lock: none (new table)
-- Where an item is sealed: ranks of the ids of a block (id >> 7), by id & 127; null for an id that has none.
create table if not exists workbench.bitmap_places (
    epoch integer not null,
    source_type text not null,
    block integer not null,
    ranks integer[] not null,
    primary key (epoch, source_type, block)
);
select workbench.carry_rights('workbench.bitmap_places', 'SELECT', 'select');

-- name: create_bitmaps
-- lock: none (new table)
-- A tag's items of one chunk; no row where there are none. Numbers below 0 are no tags: -1 regular items,
-- -2 auto items, -3 items that everybody sees. 15,872 bits, since four such rows fill a page and of
-- 16,384 bits only three.
create table if not exists workbench.tag_bitmaps (
    epoch integer not null,
    tag_no integer not null,
    chunk integer not null,
    cardinality integer not null,
    bits bit(15872) not null,
    primary key (epoch, tag_no, chunk)
);
-- In the row, not in a TOAST table: a bitmap is read as a whole and by the hundred.
alter table workbench.tag_bitmaps alter column bits set storage plain;
select workbench.carry_rights('workbench.tag_bitmaps', 'SELECT', 'select');

-- name: create_tags
-- lock: none (new table)
-- The tags that have bitmaps. Any other is answered from the junction.
create table if not exists workbench.bitmap_tags (
    epoch integer not null,
    tag_no integer not null,
    primary key (epoch, tag_no)
);
select workbench.carry_rights('workbench.bitmap_tags', 'SELECT', 'select');

-- name: create_creators
-- lock: none (new table)
-- Positions of a creator's items in a span of four chunks: two bytes each, most significant first, ascending,
-- counted from the span's first position.
create table if not exists workbench.bitmap_creators (
    epoch integer not null,
    creator_id uuid not null,
    span integer not null,
    positions bytea not null,
    primary key (epoch, creator_id, span)
);
alter table workbench.bitmap_creators alter column positions set storage external;
select workbench.carry_rights('workbench.bitmap_creators', 'SELECT', 'select');

-- name: create_marks
-- lock: none (new table)
-- A mark says: this item is not what the bitmaps say, look at the item itself. Marks are only ever added,
-- in the transaction that changes the item, so that no two writers wait for each other here; sealing takes
-- them away. `moved` says that the item cannot keep the rank it had.
create table if not exists workbench.bitmap_marks (
    source_type text not null,
    content_id integer not null,
    moved boolean not null,
    changed_by xid8 not null default pg_current_xact_id(),
    changed_at timestamptz not null default now()
);
create index if not exists idx_bitmap_marks_changed_by on workbench.bitmap_marks (changed_by);
select workbench.carry_rights('workbench.bitmap_marks', 'SELECT', 'select');

-- name: create_kept_marks
-- lock: ACCESS SHARE on workbench.bitmap_marks
-- Marks that were sealed into the serving epoch while another one is built, which will need them.
create table if not exists workbench.bitmap_marks_kept (like workbench.bitmap_marks including defaults);

-- name: create_mark_content
-- lock: none (new function)
-- Security definer: writers of content need no right on the marks. With the owner's rights nothing is looked
-- up outside pg_catalog: an operator that somebody made in schema public might fit its types better.
create or replace function workbench.mark_content() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        insert into workbench.bitmap_marks (source_type, content_id, moved)
        select source_type, id, false from new_rows;
    elsif tg_op = 'DELETE' then
        insert into workbench.bitmap_marks (source_type, content_id, moved)
        select source_type, id, true from old_rows;
    else
        insert into workbench.bitmap_marks (source_type, content_id, moved)
        select source_type, id, o.created_at is distinct from n.created_at
        from old_rows o full join new_rows n using (source_type, id)
        where (o.created_at, o.creator_id, o.is_private) is distinct from (n.created_at, n.creator_id, n.is_private);
    end if;
    return null;
end
$$;
-- Whoever could execute it could hang it on a table of their own, and mark whatever they like.
revoke execute on function workbench.mark_content() from public;

-- name: create_mark_links
-- lock: none (new function)
create or replace function workbench.mark_links() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op in ('INSERT', 'UPDATE') then
        insert into workbench.bitmap_marks (source_type, content_id, moved)
        select distinct case content_source when {regular_junction} then {regular} else {auto} end, content_id, false
        from new_rows;
    end if;
    if tg_op in ('DELETE', 'UPDATE') then
        insert into workbench.bitmap_marks (source_type, content_id, moved)
        select distinct case content_source when {regular_junction} then {regular} else {auto} end, content_id, false
        from old_rows;
    end if;
    return null;
end
$$;
-- Whoever could execute it could hang it on a table of their own, and mark whatever they like.
revoke execute on function workbench.mark_links() from public;

-- name: create_forget
-- lock: none (new function)
-- A TRUNCATE names no items: the index serves no longer, and what is being built will not.
create or replace function workbench.forget_bitmaps() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update workbench.bitmap_state
    set version = version + 1, serving = null, building = null, building_snapshot = null, building_since = null;
    return null;
end
$$;
-- Whoever could execute it could hang it on a table of their own, and put the index out of service.
revoke execute on function workbench.forget_bitmaps() from public;

-- name: is_armed
-- Whether a table has all four triggers, enabled, with the functions that are ours.
select count(*) = 4
from pg_trigger t join pg_proc p on p.oid = t.tgfoid
where t.tgrelid = to_regclass(%(relation)s) and t.tgenabled in ('O', 'A')
  and p.pronamespace = to_regnamespace('workbench') and p.proname in (%(marks)s, 'forget_bitmaps')
  and t.tgname in ('mark_on_insert', 'mark_on_update', 'mark_on_delete', 'forget_on_truncate');

-- name: is_disarmed
-- Whether a table has none of them, be it disabled.
select count(*) = 0 from pg_trigger
where tgrelid = to_regclass(%(relation)s)
  and tgname in ('mark_on_insert', 'mark_on_update', 'mark_on_delete', 'forget_on_truncate');

-- name: arm
-- lock: SHARE ROW EXCLUSIVE
-- Writers in flight end first, those that come later wait these milliseconds; readers go on. From here on
-- whatever a statement changes in this table leaves a mark. A statement fires the triggers of the table
-- that it names, not of its partitions or its parent, so each has its own.
create or replace trigger mark_on_insert
after insert on {table} referencing new table as new_rows
for each statement execute function {function}();
create or replace trigger mark_on_update
after update on {table} referencing old table as old_rows new table as new_rows
for each statement execute function {function}();
create or replace trigger mark_on_delete
after delete on {table} referencing old table as old_rows
for each statement execute function {function}();
create or replace trigger forget_on_truncate
after truncate on {table} for each statement execute function workbench.forget_bitmaps();

-- name: is_out_of_service
select serving is null and building is null from workbench.bitmap_state;

-- name: take_out_of_service
-- lock: ROW EXCLUSIVE on workbench.bitmap_state
-- No snapshot from here on reads the index, and what is being built will not be swapped in.
update workbench.bitmap_state
set version = version + 1, serving = null, building = null, building_snapshot = null, building_since = null;

-- name: disarm
-- lock: ACCESS EXCLUSIVE
-- In the transaction that drops the triggers the index goes out of service, whatever happened before: no
-- snapshot may see it serve without them.
drop trigger if exists mark_on_insert on {table};
drop trigger if exists mark_on_update on {table};
drop trigger if exists mark_on_delete on {table};
drop trigger if exists forget_on_truncate on {table};
update workbench.bitmap_state
set version = version + 1, serving = null, building = null, building_snapshot = null, building_since = null;

-- name: has_no_marks
select not exists (select from workbench.bitmap_marks) and not exists (select from workbench.bitmap_marks_kept);

-- name: forget_marks
-- lock: ROW EXCLUSIVE on the marks
-- Deleted, not truncated: an older snapshot that still sees the index serve needs the marks it had.
delete from workbench.bitmap_marks;
delete from workbench.bitmap_marks_kept;

-- name: drop_function
-- lock: none (function)
drop function if exists {function}();

-- name: drop_table
-- lock: ACCESS EXCLUSIVE
drop table if exists {table};
