-- name: create_tag_stats
-- lock: SHARE ROW EXCLUSIVE on tags
-- The table is new and empty, so its foreign key has nothing to scan: the lock is held for an instant.
-- `cardinality` counts the items of a source that carry the tag, `display_count` those of them that
-- everybody sees, which is the number a user interface shows.
create table tag_cardinality_stats (
    tag_id uuid not null references tags (id) on delete cascade,
    content_source varchar(10) not null check (content_source in ('regular', 'auto')),
    cardinality bigint not null,
    display_count bigint not null,
    updated_at timestamptz not null default now(),
    primary key (tag_id, content_source),
    constraint tag_cardinality_stats_counts check (0 <= display_count and display_count <= cardinality)
);
create index if not exists idx_tag_cardinality_stats_source_cardinality
on tag_cardinality_stats (content_source, cardinality desc);
-- Whoever may read the content may read how often its tags are used.
select workbench.carry_rights('tag_cardinality_stats', 'SELECT', 'select');

-- name: create_source_stats
-- lock: none (new table)
-- A user's items of a source, and those of them that everybody sees. Spelled as in content_items_all:
-- source_type is 'items' or 'auto'. No foreign key: a user who is deleted has no items left, and the next
-- refresh takes the row.
create table gen_source_stats (
    user_id uuid not null,
    source_type text not null check (source_type in ('items', 'auto')),
    count bigint not null,
    public_count bigint not null,
    updated_at timestamptz not null default now(),
    primary key (user_id, source_type),
    constraint gen_source_stats_counts check (0 <= public_count and public_count <= count)
);
select workbench.carry_rights('gen_source_stats', 'SELECT', 'select');

-- name: create_source_statistics
-- lock: none (new table)
-- One row a source: its totals and the moment all statistics are of.
create table if not exists workbench.source_statistics (
    content_source varchar(10) primary key check (content_source in ('regular', 'auto')),
    items bigint not null,
    public_items bigint not null,
    relationships bigint not null,
    sample_seed bigint not null,
    refreshed_at timestamptz not null
);
select workbench.carry_rights('workbench.source_statistics', 'SELECT', 'select');
-- A right on a table is worth nothing without one on its schema; the ledger's tables stay closed.
select workbench.carry_rights('schema workbench', 'SELECT', 'usage');

-- name: create_sample
-- lock: none (new table)
-- A random sample of each source's items in numbered slots, from 0 without a hole, each with its tags.
create table if not exists workbench.tag_sample (
    content_source varchar(10) not null check (content_source in ('regular', 'auto')),
    slot integer not null check (slot >= 0),
    content_id integer not null,
    is_private boolean not null,
    tag_ids uuid[] not null,
    primary key (content_source, slot)
);
select workbench.carry_rights('workbench.tag_sample', 'SELECT', 'select');

-- name: create_service_keys
-- lock: none (new table)
-- Keys that every process of the service shares. gen_random_uuid draws from the server's strong source of
-- randomness, 122 bits at a time; the hash makes even bytes of 366 of them.
create table if not exists workbench.service_keys (
    name text primary key,
    key bytea not null check (octet_length(key) >= 32),
    created_at timestamptz not null default now()
);
insert into workbench.service_keys (name, key)
values ('cursor', sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))
on conflict (name) do nothing;
-- Default privileges of the database may have given it away already; only a grant by hand opens it.
do $$
declare found record;
begin
    for found in
        select distinct case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end as role
        from pg_class c cross join lateral aclexplode(c.relacl) a
        where c.oid = 'workbench.service_keys'::regclass and a.grantee <> c.relowner
    loop
        execute 'revoke all on workbench.service_keys from ' || found.role;
    end loop;
end
$$;

-- name: create_private_index
-- lock: SHARE UPDATE EXCLUSIVE
-- An exact count takes a tag's rows from the junction and what others may not see from here, without a look at
-- any public item. Private items are few, and so are its pages.
create index concurrently if not exists {index} on {table} (id) include (creator_id) where is_private;

-- name: create_search_index
-- lock: SHARE UPDATE EXCLUSIVE
-- In the very expression that a search asks for (see gallery/clauses.py), or no search would use it.
create index concurrently if not exists {index} on {table}
using gin (to_tsvector('simple'::regconfig, title || ' ' || prompt));

-- name: drop_table
-- lock: ACCESS EXCLUSIVE
drop table if exists {table};

-- name: index_is_another
-- Whether an index of that name is there over something else than what a search asks for.
select exists (
    select from pg_index
    where indexrelid = to_regclass(%(relation)s)
      and pg_get_indexdef(indexrelid) not like '%% USING gin (to_tsvector(''simple''::regconfig, %%title%%prompt%%'
);
