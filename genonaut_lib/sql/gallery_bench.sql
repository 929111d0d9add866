-- name: limit_reads
-- For this transaction only: a measurement writes nothing, and gives up on a statement after a while.
select set_config('statement_timeout', %(statement_timeout)s, true), set_config('transaction_read_only', 'on', true);

-- name: viewers
-- Whoever made the most items, and one who made as many as most do.
select creator_id from (
    select creator_id, row_number() over (order by count(*) desc, creator_id) as place, count(*) over () as creators
    from content_items_all group by creator_id
) ranked where place in (1, (creators + 1) / 2) order by place;

-- name: item_counts
select count(*) from content_items_all;
