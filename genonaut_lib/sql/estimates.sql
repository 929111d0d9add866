-- name: table_size
-- Rows by the last ANALYZE (-1 before the first), pages now, bytes with everything that belongs to the table.
select c.reltuples::float8, pg_relation_size(c.oid) / current_setting('block_size')::int, pg_total_relation_size(c.oid)
from pg_class c where c.oid = to_regclass(%(relation)s);

-- name: count_rows
select count(*) from {table};

-- name: sample_names
-- Some pages of a table with legacy names: rows, rows without ids among them, average bytes of a row and of
-- its names, average number of names. REPEATABLE: asked twice, it answers the same.
select count(*), count(*) filter (where {waiting}), coalesce(avg(pg_column_size(c.*)), 0)::float8,
       coalesce(avg(pg_column_size({names})), 0)::float8,
       coalesce(avg(case jsonb_typeof({names}) when 'array' then jsonb_array_length({names}) else 0 end), 0)::float8
from {table} c tablesample system (%(percent)s) repeatable (0);

-- name: sample_ids
-- The same for a table whose names are gone: rows, bytes of a row, number of tag ids.
select count(*), 0, coalesce(avg(pg_column_size(c.*)), 0)::float8, 0::float8,
       coalesce(avg(cardinality({ids})), 0)::float8
from {table} c tablesample system (%(percent)s) repeatable (0);

-- name: names_of_some
-- Legacy names of some rows as text, to see how well they compress.
select {names}::text from {table} tablesample system (%(percent)s) repeatable (0)
where {names} is not null limit %(limit)s;

-- name: indexes
-- The indexes of a table: name, access method, bytes.
select i.indexrelid::regclass::text, m.amname, pg_relation_size(i.indexrelid)
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
where i.indrelid = to_regclass(%(relation)s) order by 1;

-- name: column_widths
-- Name, bytes, alignment and average bytes of every column; -1 bytes means a width of its own in each row.
select a.attname, a.attlen, a.attalign::text, coalesce(s.avg_width, 0)
from pg_attribute a
left join pg_stats s on s.schemaname = 'public' and s.tablename = %(relation)s and s.attname = a.attname
where a.attrelid = to_regclass(%(relation)s) and a.attnum > 0 and not a.attisdropped;

-- name: server
-- What decides how much is written: page images and their compression, memory of an index build, WAL kept.
select current_setting('full_page_writes')::boolean, current_setting('wal_compression') <> 'off',
       pg_size_bytes(current_setting('maintenance_work_mem')), pg_size_bytes(current_setting('max_wal_size'));

-- name: rows_left
-- Ranges of a backfill in one source, and the rows of those that are not worked off.
select count(*), coalesce(sum(rows_total - rows_read) filter (where cursor_id < upto_id), 0)
from workbench.backfills where task = %(task)s and source = %(source)s;

-- name: rates
-- What the backfills of this database took: rows and seconds by task.
select task, sum(rows_read)::bigint, sum(seconds)::float8 from workbench.backfills group by task order by task;

-- name: data_folder
-- Where the server keeps the content's files: the tablespace of the database, else the data directory, which is
-- shown to those who may see it. Null where a table lies in a tablespace of its own.
select case when exists (select from pg_class where reltablespace <> 0
                           and oid in (to_regclass('content_items'), to_regclass('content_items_auto')))
            then null
            else coalesce(nullif(pg_tablespace_location(d.dattablespace), ''),
                          (select setting from pg_settings where name = 'data_directory')) end,
       pg_backend_pid()
from pg_database d where d.datname = current_database();
