-- name: rights_on_keys
-- Whether this user may read and add keys; false, too, where there is no such table yet.
select coalesce(has_table_privilege(to_regclass('workbench.service_keys'), 'select'), false),
       coalesce(has_table_privilege(to_regclass('workbench.service_keys'), 'insert'), false)
       and current_setting('transaction_read_only') = 'off';

-- name: keys
select name, key from workbench.service_keys order by name;

-- name: keep_key
-- The first key stays: a later one would make the same value look like another.
insert into workbench.service_keys (name, key) values ('fingerprint', %(fingerprint_key)s) on conflict (name) do nothing;
