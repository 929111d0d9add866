-- name: into
-- All columns of a table, in their own order.
copy {table} from stdin;
