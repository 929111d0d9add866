-- name: schema
-- lint: allow missing-lock because a new schema takes no lock that anybody waits for
-- lint: allow ddl-outside-helper because there is nothing yet to record an attempt in, and nobody to wait for
-- Where the ledger and Alembic's version table live, apart from the gallery's own tables.
create schema if not exists workbench;

-- name: revision
-- The revision this database is at; the table is missing before the first one.
select version_num from workbench.alembic_version;

-- name: has_relation
select to_regclass(%(relation)s) is not null;

-- name: has_column
select exists (
    select from pg_attribute
    where attrelid = to_regclass(%(relation)s) and attname = %(column)s and not attisdropped
);

-- name: column_is_not_null
select exists (
    select from pg_attribute
    where attrelid = to_regclass(%(relation)s) and attname = %(column)s and attnotnull
);

-- name: has_valid_index
-- A failed CREATE INDEX CONCURRENTLY leaves an invalid index of the same name behind.
select exists (select from pg_index where indexrelid = to_regclass(%(relation)s) and indisvalid);

-- name: has_invalid_index
select exists (select from pg_index where indexrelid = to_regclass(%(relation)s) and not indisvalid);

-- name: has_constraint
select exists (
    select from pg_constraint where conrelid = to_regclass(%(relation)s) and conname = %(constraint)s
);

-- name: has_valid_constraint
select exists (
    select from pg_constraint
    where conrelid = to_regclass(%(relation)s) and conname = %(constraint)s and convalidated
);

-- name: has_function
select to_regprocedure(%(relation)s) is not null;

-- name: has_function_named
-- Whatever its arguments are.
select exists (select from pg_proc where proname = %(relation)s and pronamespace = to_regnamespace('public'));

-- name: has_trigger
select exists (
    select from pg_trigger
    where tgrelid = to_regclass(%(relation)s) and tgname = %(trigger)s and not tgisinternal
);

-- name: has_enabled_trigger
select exists (
    select from pg_trigger
    where tgrelid = to_regclass(%(relation)s) and tgname = %(trigger)s and tgenabled in ('O', 'A')
);

-- name: is_partition
-- One whose detaching was begun is none any more, though the catalogue still names its parent.
select exists (
    select from pg_inherits
    where inhrelid = to_regclass(%(relation)s) and inhparent = to_regclass(%(parent)s) and not inhdetachpending
);

-- name: is_detach_pending
-- A killed DETACH PARTITION CONCURRENTLY leaves this behind; only DETACH PARTITION FINALIZE ends it.
select exists (
    select from pg_inherits
    where inhrelid = to_regclass(%(relation)s) and inhparent = to_regclass(%(parent)s) and inhdetachpending
);

-- name: column_type
select format_type(atttypid, atttypmod) from pg_attribute
where attrelid = to_regclass(%(relation)s) and attname = %(column)s and not attisdropped;

-- name: columns
-- Name, type and nullability of every column, in name order.
select attname, format_type(atttypid, atttypmod), attnotnull from pg_attribute
where attrelid = to_regclass(%(relation)s) and attnum > 0 and not attisdropped
order by attname;

-- name: user_tables
select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'workbench')
order by 1;

-- name: relation_bytes
select pg_total_relation_size(to_regclass(%(relation)s));

-- name: is_empty
select not exists (select from {table} limit 1);

-- name: id_bounds
-- The id before the least and the greatest one; equal for an empty table.
select coalesce(min(id) - 1, 0)::bigint, coalesce(max(id), 0)::bigint from {table};

-- name: id_sequence
-- The sequence behind a table's id, and whether it is an identity column.
select pg_get_serial_sequence(%(relation)s, 'id'), attidentity <> '' from pg_attribute
where attrelid = to_regclass(%(relation)s) and attname = 'id' and not attisdropped;

-- name: may_create
select has_database_privilege(current_database(), 'CREATE') and has_schema_privilege('public', 'CREATE');

-- name: purpose_of_schema
select obj_description(to_regnamespace('workbench'), 'pg_namespace');

-- name: note_empty_at_adoption
-- lint: allow missing-lock because a comment on our own schema holds up nobody
-- lint: allow ddl-outside-helper because a comment on our own schema waits for nobody
-- Stands from before the first table is made to after the last: a start killed in between is known by it.
comment on schema workbench is 'empty at adoption';

-- name: note_adopted
-- lint: allow missing-lock because a comment on our own schema holds up nobody
-- lint: allow ddl-outside-helper because a comment on our own schema waits for nobody
comment on schema workbench is 'the ledger of the Genonaut workbench';

-- name: not_owned
-- Gallery tables whose owner this user cannot act as; ALTER TABLE needs the owner.
select c.relname from pg_class c
where c.oid in (to_regclass('content_items'), to_regclass('content_items_auto'), to_regclass('users'))
  and not pg_has_role(c.relowner, 'MEMBER')
order by 1;

-- name: long_transactions
-- Open transactions older than a minute; CREATE INDEX CONCURRENTLY waits for them, but not for a keeper
-- of advisory locks (see db/advisory.py).
select pid, usename, extract(epoch from now() - xact_start)::int from pg_stat_activity
where xact_start < now() - interval '1 minute' and pid <> pg_backend_pid() and datname = current_database()
  and application_name <> 'genonaut keeper'
order by xact_start;

-- name: lock_holders
-- Other sessions that hold a lock on a gallery table. A copy of this database has tables of the same ids.
select distinct a.pid, coalesce(a.usename, a.backend_type), coalesce(a.application_name, ''),
       coalesce(a.state, a.backend_type), coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::int,
       left(coalesce(a.query, ''), 120)
from pg_locks l join pg_stat_activity a on a.pid = l.pid
where l.granted and l.pid <> pg_backend_pid()
  and l.database = (select oid from pg_database where datname = current_database())
  and l.relation in (to_regclass('content_items'), to_regclass('content_items_auto'),
                     to_regclass('content_items_all'), to_regclass('content_tags'))
order by a.pid;
