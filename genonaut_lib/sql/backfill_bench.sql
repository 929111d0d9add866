-- name: plain_insert
-- The baseline of the junction: one statement, one session, the same table and constraints.
insert into content_tags (content_id, content_source, tag_id)
select id, %(source)s, unnest(tags) from {table};

-- name: application_write
-- What the application does while the schema changes: a write of one row through its own table.
update {table} set title = title where id = %(id)s;

-- name: is_held_exclusively
select exists (
    select from pg_locks
    where granted and mode = 'AccessExclusiveLock' and database = (select oid from pg_database where datname = current_database())
      and relation in (to_regclass('content_items'), to_regclass('content_items_auto'))
);

-- name: count_rows
select count(*) from {table};
