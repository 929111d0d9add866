-- name: rights_on_keys
-- Whether this user may read and add keys; false, too, where there is no such table yet. The catalogue is asked, since
-- to_regclass raises an error for a user who may not enter the schema.
select coalesce(bool_or(has_table_privilege(c.oid, 'select')), false),
       coalesce(bool_or(has_table_privilege(c.oid, 'insert')), false)
       and current_setting('transaction_read_only') = 'off'
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'workbench' and c.relname = 'service_keys' and has_schema_privilege(n.oid, 'usage');

-- name: keys
select name, key from workbench.service_keys order by name;

-- name: keep_key
-- The first key stays: a later one would make the same value look like another.
insert into workbench.service_keys (name, key) values ('fingerprint', %(fingerprint_key)s) on conflict (name) do nothing;
