-- name: create_table
-- lock: SHARE ROW EXCLUSIVE on tags
-- content_id stands first in the key: it is the distribution column beyond one machine.
create table if not exists content_tags (
    content_id integer not null,
    content_source varchar(10) not null check (content_source in ('regular', 'auto')),
    tag_id uuid not null references tags (id) on delete cascade,
    primary key (content_id, content_source, tag_id)
);

-- name: grant_reading
-- lock: none (rights only)
-- Whoever may read the content may read the junction; it is written by the triggers, as their owner.
select workbench.carry_rights('content_tags', 'SELECT', 'select');

-- name: create_tag_index
-- lock: SHARE on content_tags (not in use yet)
-- All content of a tag by source, index only; the primary key serves all tags of a content item.
create index if not exists idx_content_tags_tag_src_content on content_tags (tag_id, content_source, content_id);

-- name: create_sync_function
-- lock: none (new function)
-- Security definer: writers of content need no right on the junction.
create or replace function sync_content_tags() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if tg_op = 'TRUNCATE' then
        delete from content_tags where content_source = tg_argv[0];
        return null;
    end if;
    if tg_op in ('UPDATE', 'DELETE') then
        delete from content_tags
        where content_id = old.id and content_source = tg_argv[0]
          and (tg_op = 'DELETE' or old.id <> new.id or tag_id <> all (coalesce(new.tags, '{{}}')));
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
        insert into content_tags (content_id, content_source, tag_id)
        select new.id, tg_argv[0], wanted from unnest(new.tags) as wanted
        on conflict do nothing;
    end if;
    return null;
end
$$;

-- name: create_sync_trigger
-- lock: SHARE ROW EXCLUSIVE
create or replace trigger sync_content_tags
after insert or delete or update of id, tags on {table} for each row
execute function sync_content_tags({source});

-- name: create_truncate_trigger
-- lock: SHARE ROW EXCLUSIVE
create or replace trigger empty_content_tags
after truncate on {table} for each statement execute function sync_content_tags({source});

-- name: drop_sync_trigger
-- lock: ACCESS EXCLUSIVE
drop trigger if exists sync_content_tags on {table};
drop trigger if exists empty_content_tags on {table};

-- name: drop_sync_function
-- lock: none (function)
drop function if exists sync_content_tags();

-- name: drop_table
-- lock: ACCESS EXCLUSIVE
drop table if exists content_tags;
