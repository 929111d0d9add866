-- name: chunk
-- The end and the size of the chunk of rows after an id.
select max(id), count(*) from (select id from {table} where id > %(after)s order by id limit %(rows)s) chunk;
