-- name: add_present_check
-- lock: ACCESS EXCLUSIVE
-- NOT VALID: no scan under the lock.
alter table {table} add constraint {constraint} check (tags is not null) not valid;

-- name: validate_present_check
-- lock: SHARE UPDATE EXCLUSIVE
-- Scans the table; reads and writes go on.
alter table {table} validate constraint {constraint};

-- name: set_not_null
-- lock: ACCESS EXCLUSIVE
-- Proved by the validated check, so no second scan.
alter table {table} alter column tags set not null;

-- name: drop_not_null
-- lint: allow ban-drop-not-null because undo: the column was nullable before
-- lock: ACCESS EXCLUSIVE
alter table {table} alter column tags drop not null;

-- name: drop_present_check
-- lock: ACCESS EXCLUSIVE
-- lint: allow ban-drop-constraint because NOT NULL says the same by then
alter table {table} drop constraint if exists {constraint};

-- name: drop_legacy_column
-- lock: ACCESS EXCLUSIVE
-- lint: allow ban-drop-column because the drop is what the phase is for, behind its gate and a typed confirmation
-- Catalogue only, its GIN index goes with it; the mirror stops in the same transaction. The point of
-- no return.
drop trigger if exists mirror_tags_on_insert on {table};
drop trigger if exists mirror_tags_on_update on {table};
alter table {table} drop column tags_old;

-- name: restore_legacy_column
-- lock: ACCESS EXCLUSIVE
-- Only for tables without a row: the names themselves are gone.
alter table {table} add column tags_old jsonb default '[]';
alter table {table} alter column tags drop not null;

-- name: restore_gin_index
-- lock: SHARE
-- lint: allow require-concurrent-index-creation because it runs on empty tables only
create index if not exists {index} on {table} using gin (tags_old);
