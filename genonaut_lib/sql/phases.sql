-- name: rows_and_bytes
select (select count(*) from {table}), pg_total_relation_size(to_regclass(%(relation)s));
