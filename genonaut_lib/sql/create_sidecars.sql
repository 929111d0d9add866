-- name: nothing
-- Stand-in.
select 1;
