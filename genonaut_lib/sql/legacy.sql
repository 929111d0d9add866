-- lint: allow missing-lock because every table is new: nobody holds a lock on it yet

-- name: users
-- The creators of content.
create table if not exists users (
    id uuid primary key default gen_random_uuid(),
    username varchar(255) not null unique,
    created_at timestamptz not null default now()
);

-- name: content_items
-- The regular source: what people made. `tags` is an array of tag names, clean or not.
create table if not exists content_items (
    id serial primary key,
    title varchar(255) not null,
    content_type varchar(50) not null,
    content_data text not null,
    item_metadata jsonb,
    creator_id uuid not null references users (id),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    quality_score double precision,
    is_private boolean not null default false,
    path_thumb varchar(512),
    prompt varchar(20000) not null,
    path_thumbs_alt_res jsonb,
    tags jsonb default '[]'
);

-- name: content_items_auto
-- The auto source: what jobs made. The same columns in the same order.
create table if not exists content_items_auto (
    id serial primary key,
    title varchar(255) not null,
    content_type varchar(50) not null,
    content_data text not null,
    item_metadata jsonb,
    creator_id uuid not null references users (id),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    quality_score double precision,
    is_private boolean not null default false,
    path_thumb varchar(512),
    prompt varchar(20000) not null,
    path_thumbs_alt_res jsonb,
    tags jsonb default '[]'
);

-- name: prompt_function
-- A prompt is written once; the gallery's history rests on it.
create or replace function forbid_prompt_change() returns trigger
language plpgsql as $$
begin
    raise exception 'prompt is immutable' using errcode = 'restrict_violation';
end
$$;

-- name: prompt_trigger_items
create or replace trigger content_items_prompt_immutable
before update of prompt on content_items for each row
when (old.prompt is distinct from new.prompt) execute function forbid_prompt_change();

-- name: prompt_trigger_auto
create or replace trigger content_items_auto_prompt_immutable
before update of prompt on content_items_auto for each row
when (old.prompt is distinct from new.prompt) execute function forbid_prompt_change();

-- name: items_created
create index if not exists idx_content_items_created_at_desc on content_items (created_at desc);

-- name: auto_created
create index if not exists idx_content_items_auto_created_at_desc on content_items_auto (created_at desc);

-- name: items_creator
create index if not exists idx_content_items_creator_created on content_items (creator_id, created_at desc);

-- name: auto_creator
create index if not exists idx_content_items_auto_creator_created
on content_items_auto (creator_id, created_at desc);

-- name: items_tags_gin
create index if not exists idx_content_items_tags_gin on content_items using gin (tags);

-- name: auto_tags_gin
create index if not exists idx_content_items_auto_tags_gin on content_items_auto using gin (tags);
