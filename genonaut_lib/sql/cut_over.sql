-- name: create_refusal_function
-- lock: none (new function)
-- The setting is on only inside rebuild_tags: a trigger depth would also let the triggers of others pass.
create or replace function refuse_tags_write() returns trigger
language plpgsql set search_path = public, pg_temp as $$
begin
    if current_setting('genonaut.mirror', true) is distinct from 'on' then
        raise exception using
            message = tg_table_name || '.tags is read-only since the cut over; nothing was written',
            hint = 'Write the junction content_tags (content_id, content_source, tag_id) instead, and leave tags out.',
            errcode = 'object_not_in_prerequisite_state';
    end if;
    return null;
end
$$;

-- name: create_move_refusal_function
-- lock: none (new function)
-- PostgreSQL moves a row to another partition as DELETE and INSERT, and the DELETE would take its tags along.
create or replace function refuse_source_change() returns trigger
language plpgsql set search_path = public, pg_temp as $$
begin
    raise exception using
        message = 'an item of ' || tg_table_name || ' cannot change its source_type since the cut over',
        hint = 'Insert it anew in the other source, write its tags into content_tags, and delete the old one.',
        errcode = 'object_not_in_prerequisite_state';
end
$$;

-- name: create_release_function
-- lock: none (new function)
-- Security definer: whoever may delete content needs no right on the junction.
create or replace function release_content_tags() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if tg_op = 'DELETE' then
        delete from content_tags t where t.content_id = old.id and t.content_source = tg_argv[0];
    elsif old.id <> new.id then
        update content_tags t set content_id = new.id where t.content_id = old.id and t.content_source = tg_argv[0];
    end if;
    return null;
end
$$;

-- name: create_content_check_function
-- lock: none (new function)
-- What a foreign key would do, which the two sources under one column do not allow. The row lock makes a
-- concurrent delete of the item wait, so that its trigger sees these rows.
create or replace function require_tagged_content() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    found_rows record;
    locked bigint;
begin
    for found_rows in
        select a.content_source as source, array_agg(distinct a.content_id order by a.content_id) as ids
        from added a group by a.content_source order by a.content_source
    loop
        perform from content_items_all c
        where c.source_type = case found_rows.source when 'regular' then 'items' else 'auto' end
          and c.id = any (found_rows.ids)
        order by c.id for key share;
        get diagnostics locked = row_count;
        if locked < cardinality(found_rows.ids) then
            raise exception using
                message = 'content_tags names an item that ' || found_rows.source || ' content does not have',
                hint = 'Insert the item first, in the same transaction or an earlier one.',
                errcode = 'foreign_key_violation';
        end if;
    end loop;
    return null;
end
$$;

-- name: create_rebuild_function
-- lock: none (new function)
-- For the undo: sets the arrays of some items to what the junction says; tags still there keep their order.
-- The rows are locked in one statement and read in the next, which sees every junction row that was
-- committed before the lock was had; one statement would overwrite it from its older snapshot.
create or replace function rebuild_tags(source text, ids integer[]) returns integer
language plpgsql set search_path = public, pg_temp as $$
declare
    part text := case rebuild_tags.source when 'regular' then 'items' else 'auto' end;
    rebuilt integer;
begin
    perform from content_items_all c
    where c.source_type = part and c.id = any (rebuild_tags.ids) order by c.id for no key update;
    perform set_config('genonaut.mirror', 'on', true);
    update content_items_all c
    set tags = array(select t.tag_id from content_tags t
                     where t.content_id = c.id and t.content_source = rebuild_tags.source
                     order by array_position(c.tags, t.tag_id) nulls last, t.tag_id)
    where c.source_type = part and c.id = any (rebuild_tags.ids)
      and array(select distinct unnest(c.tags) order by 1)
          <> array(select t.tag_id from content_tags t
                   where t.content_id = c.id and t.content_source = rebuild_tags.source order by 1);
    get diagnostics rebuilt = row_count;
    perform set_config('genonaut.mirror', 'off', true);
    return rebuilt;
end
$$;

-- name: lock_tables
-- lock: SHARE ROW EXCLUSIVE on both content tables and content_tags
-- Writers in flight end first, those that come later wait these milliseconds; readers go on.
lock table content_items, content_items_auto, content_tags in share row exclusive mode;

-- name: switch_table
-- lock: SHARE ROW EXCLUSIVE
-- The trigger keeps its name and loses its half that followed the array.
create or replace trigger sync_content_tags
after delete or update of id on {table} for each row execute function release_content_tags({source});
create or replace trigger refuse_tags_on_insert
after insert on {table} for each row
when (cardinality(new.tags) > 0) execute function refuse_tags_write();
create or replace trigger refuse_tags_on_update
after update on {table} for each row
when (new.tags is distinct from old.tags) execute function refuse_tags_write();
create or replace trigger refuse_source_change
before update of source_type on {table} for each row
when (new.source_type is distinct from old.source_type) execute function refuse_source_change();

-- name: open_junction
-- lock: SHARE ROW EXCLUSIVE on content_tags
-- Whoever may write the content may write its tags: who inserts items, theirs; who updates items, all.
create or replace trigger require_content_on_insert
after insert on content_tags referencing new table as added
for each statement execute function require_tagged_content();
create or replace trigger require_content_on_update
after update on content_tags referencing new table as added
for each statement execute function require_tagged_content();
select workbench.carry_rights('content_tags', 'INSERT', 'insert'),
       workbench.carry_rights('content_tags', 'UPDATE', 'insert, delete');

-- name: create_mirror_function
-- lock: none (new function)
create or replace function mirror_content_tags() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    found_rows record;
begin
    for found_rows in
        select c.content_source as source, array_agg(distinct c.content_id order by c.content_id) as ids
        from changed c group by c.content_source order by c.content_source
    loop
        perform rebuild_tags(found_rows.source, found_rows.ids);
    end loop;
    return null;
end
$$;

-- name: create_mirror_triggers
-- lock: SHARE ROW EXCLUSIVE on content_tags
-- From here on the arrays follow the junction. An update has one trigger for the items it leaves and one
-- for those it comes to.
create or replace trigger mirror_on_insert
after insert on content_tags referencing new table as changed
for each statement execute function mirror_content_tags();
create or replace trigger mirror_on_delete
after delete on content_tags referencing old table as changed
for each statement execute function mirror_content_tags();
create or replace trigger mirror_on_update_from
after update on content_tags referencing old table as changed
for each statement execute function mirror_content_tags();
create or replace trigger mirror_on_update_to
after update on content_tags referencing new table as changed
for each statement execute function mirror_content_tags();

-- name: rebuild_batch
-- Undo, batch by batch: the items whose array is not what the junction says are set to it.
select b.rows_read, rebuild_tags(%(source)s, b.ids)
from (select count(*) as rows_read, coalesce(array_agg(id order by id), '{{}}') as ids
      from {table} where id > %(after)s and id <= %(upto)s) b;

-- name: orphans
-- Junction rows whose item is gone, the first few.
select t.content_id, t.tag_id from content_tags t
where t.content_source = %(source)s and not exists (select from {table} c where c.id = t.content_id)
limit %(limit)s;

-- name: arrays_are_carried
-- Whether both tables have the enabled trigger that carries every write of an array into the junction.
select count(*) = 2 from pg_trigger
where tgrelid in (to_regclass('content_items'), to_regclass('content_items_auto')) and tgname = 'sync_content_tags'
  and tgfoid = to_regproc('sync_content_tags') and tgenabled in ('O', 'A');

-- name: lock_tables_back
-- lock: ACCESS EXCLUSIVE on both content tables and content_tags
-- Dropping a trigger takes this lock; writers in flight end first, their mirror runs before it goes.
lock table content_items, content_items_auto, content_tags in access exclusive mode;

-- name: release_table
-- lock: ACCESS EXCLUSIVE
drop trigger if exists refuse_tags_on_insert on {table};
drop trigger if exists refuse_tags_on_update on {table};
drop trigger if exists refuse_source_change on {table};

-- name: close_junction
-- lock: ACCESS EXCLUSIVE on content_tags
-- The junction is the triggers' again: whoever still writes it directly is refused, not overwritten later.
drop trigger if exists require_content_on_insert on content_tags;
drop trigger if exists require_content_on_update on content_tags;
drop trigger if exists mirror_on_insert on content_tags;
drop trigger if exists mirror_on_delete on content_tags;
drop trigger if exists mirror_on_update_from on content_tags;
drop trigger if exists mirror_on_update_to on content_tags;
do $$
declare found_role record;
begin
    for found_role in
        select distinct case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end as name
        from pg_class c cross join lateral aclexplode(c.relacl) a
        where c.oid in (to_regclass('content_items'), to_regclass('content_items_auto'))
          and a.grantee <> c.relowner and a.privilege_type in ('INSERT', 'UPDATE')
    loop
        execute 'revoke insert, delete on content_tags from ' || found_role.name;
    end loop;
end
$$;

-- name: has_no_functions
select not exists (
    select from pg_proc
    where pronamespace = to_regnamespace('public')
      and proname in ('refuse_tags_write', 'refuse_source_change', 'release_content_tags', 'require_tagged_content',
                      'mirror_content_tags', 'rebuild_tags')
);

-- name: drop_mirror
-- lint: allow ban-drop-function because only the triggers dropped before it call it
-- lock: ACCESS EXCLUSIVE on content_tags
-- An undo that was begun and given up left it: the arrays rest again, the junction stays the truth.
drop trigger if exists mirror_on_insert on content_tags;
drop trigger if exists mirror_on_delete on content_tags;
drop trigger if exists mirror_on_update_from on content_tags;
drop trigger if exists mirror_on_update_to on content_tags;
drop function if exists mirror_content_tags();

-- name: drop_functions
-- lock: none (functions)
drop function if exists refuse_tags_write(), refuse_source_change(), release_content_tags(), require_tagged_content(),
    mirror_content_tags(), rebuild_tags(text, integer[]);
