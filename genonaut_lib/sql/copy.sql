-- name: into
-- All columns of a table, in their own order.
copy {table} from stdin;

-- name: binary_into
-- Rows as PostgreSQL itself lays them out; the columns that are named, in that order.
copy {table} ({columns}) from stdin (format binary);
