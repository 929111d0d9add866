-- name: swap_tags_column
-- lock: ACCESS EXCLUSIVE
-- lint: allow renaming-column because the new column takes the name in the same transaction
-- One transaction, catalogue only: no reader ever meets the table without a `tags` column, and no
-- writer the new column without its mirror.
-- Null means "not yet backfilled"; rows written from now on start with an empty array.
alter table {table} rename column tags to tags_old;
alter table {table} add column tags uuid[];
alter table {table} alter column tags set default '{{}}';
create or replace trigger mirror_tags_on_insert
before insert on {table} for each row
when (new.tags is not null) execute function mirror_tags_to_names();
create or replace trigger mirror_tags_on_update
before update of tags on {table} for each row
when (new.tags is distinct from old.tags) execute function mirror_tags_to_names();

-- name: create_mirror_function
-- lock: none (new function)
-- Whoever writes the new column keeps the old one true, so that going back loses nothing.
create or replace function mirror_tags_to_names() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if current_setting('genonaut.backfill', true) = 'on' then
        return new;
    end if;
    if exists (select from unnest(new.tags) wanted left join tags t on t.id = wanted where t.id is null) then
        raise exception using message = 'tags holds an id that no tag has: ' || new.tags::text,
            errcode = 'foreign_key_violation';
    end if;
    -- The backfill reads names through their aliases; a tag that the application made has none yet.
    insert into tag_aliases (spelling, tag_id)
    select t.name, t.id from tags t
    where t.id = any (new.tags) and not exists (select from tag_aliases a where a.spelling = t.name)
    on conflict do nothing;
    new.tags_old := coalesce((
        select jsonb_agg(t.name order by wanted.position)
        from unnest(new.tags) with ordinality wanted (tag_id, position)
        join tags t on t.id = wanted.tag_id), '[]');
    return new;
end
$$;

-- name: create_mirror_on_insert
-- lock: SHARE ROW EXCLUSIVE
create or replace trigger mirror_tags_on_insert
before insert on {table} for each row
when (new.tags is not null) execute function mirror_tags_to_names();

-- name: create_mirror_on_update
-- lock: SHARE ROW EXCLUSIVE
create or replace trigger mirror_tags_on_update
before update of tags on {table} for each row
when (new.tags is distinct from old.tags) execute function mirror_tags_to_names();

-- name: drop_mirror_function
-- lock: none (function)
-- lint: allow ban-drop-function because it is our own; its triggers go before it
drop function if exists mirror_tags_to_names();

-- name: restore_tags_column
-- lock: ACCESS EXCLUSIVE
-- The mirror kept tags_old true, so dropping the new column loses nothing. It goes in the same
-- transaction: an id written after it and before the drop would be lost.
drop trigger if exists mirror_tags_on_insert on {table};
drop trigger if exists mirror_tags_on_update on {table};
alter table {table} drop column tags;
alter table {table} rename column tags_old to tags;
