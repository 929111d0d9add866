-- name: lock_task
-- Two starts at once must not both cut the same table into ranges.
select pg_advisory_xact_lock(hashtextextended('genonaut.backfill.' || %(task)s, 0));

-- name: last_range
select coalesce(max(range_no), 0), max(upto_id) from workbench.backfills where task = %(task)s and source = %(source)s;

-- name: rows_in_range
-- Rows for each range: small enough that workers end together, large enough that few batches are cut short.
select greatest(%(least)s, least(50000, reltuples / 32))::int from pg_class where oid = to_regclass(%(relation)s);

-- name: open_empty_range
-- A table without rows is worked off as soon as it was looked at.
insert into workbench.backfills (task, source, range_no, after_id, upto_id, cursor_id, rows_total)
values (%(task)s, %(source)s, 1, 0, 0, 0, 0);

-- name: open_ranges
-- The upper bound is fixed here; rows written later are the triggers' business.
insert into workbench.backfills (task, source, range_no, after_id, upto_id, cursor_id, rows_total)
select %(task)s, %(source)s, %(last_range)s + row_number() over (order by part), after_id, upto_id, after_id, rows
from (
    select part, rows, coalesce(lag(last) over (order by part), %(after)s) as after_id, last as upto_id
    from (
        select part, count(*) as rows, max(id) as last
        from (
            select id, (row_number() over (order by id) - 1) / %(rows)s as part
            from {table} where id > %(after)s
        ) numbered
        group by part
    ) parts
) ranges;

-- name: claim
-- The row lock is the claim: it goes with the batch's transaction, so a killed worker leaves none
-- behind, a pooler in between does no harm, and further workers may join from anywhere. A worker stays
-- with its range where it can, so that its rows lie together.
select source, range_no, cursor_id, upto_id from workbench.backfills
where task = %(task)s and cursor_id < upto_id
order by (source = %(source)s and range_no = %(range_no)s) desc, source desc, range_no
limit 1 for update skip locked;

-- name: is_complete
-- Ranges that others are working on are not complete yet.
select not exists (select from workbench.backfills where task = %(task)s and cursor_id < upto_id);

-- name: batch_end
-- The id of the last row of the next batch, or null when the range holds no further row.
select max(id) from (
    select id from {table} where id > %(after)s and id <= %(upto)s order by id limit %(rows)s
) batch;

-- name: checkpoint
update workbench.backfills
set cursor_id = %(cursor)s, rows_read = rows_read + %(rows_read)s,
    rows_changed = rows_changed + %(rows_changed)s, batches = batches + 1,
    seconds = seconds + %(seconds)s, updated_at = now()
where task = %(task)s and source = %(source)s and range_no = %(range_no)s;

-- name: finish_range
update workbench.backfills set cursor_id = upto_id, updated_at = now()
where task = %(task)s and source = %(source)s and range_no = %(range_no)s;

-- name: totals
select source, sum(rows_total)::bigint, sum(rows_read)::bigint, sum(rows_changed)::bigint
from workbench.backfills where task = %(task)s group by source;

-- name: status
-- How the rows of a backfill stand, over all its ranges and starts.
select count(*), coalesce(sum(rows_total), 0)::bigint, coalesce(sum(rows_read), 0)::bigint,
       coalesce(sum(rows_changed), 0)::bigint, coalesce(bool_and(cursor_id = upto_id), false),
       coalesce(sum(seconds), 0)
from workbench.backfills where task = %(task)s;

-- name: forget
delete from workbench.backfills where task = %(task)s;

-- name: set_local
-- A commit lost in a crash of the server takes its checkpoint with it, so it need not be waited for.
-- A batch joins its rows with themselves, and the planner, which sees no statistics inside a
-- statement, would now and then do so row by row: nested loops only where nothing else can. Nor may it
-- sort an array's elements to count them, since they are collected in their order beside (PostgreSQL 16
-- and newer would; older ones do not know the setting).
select set_config('lock_timeout', %(lock_timeout)s, true),
       set_config('statement_timeout', %(statement_timeout)s, true),
       set_config('synchronous_commit', 'off', true),
       set_config('enable_nestloop', 'off', true),
       (select set_config(name, 'off', true) from pg_settings where name = 'enable_presorted_aggregate'),
       set_config('jit', 'off', true),
       set_config('genonaut.backfill', 'on', true);

-- name: forget_with_schema
-- lock: ROW EXCLUSIVE on the ledger
-- What the checkpoints stand for goes with the table or column it was written to.
delete from workbench.backfills where task = {task};

-- name: is_worked_off
-- Whether a task was started and every range of it is done.
select count(*) > 0 and coalesce(bool_and(cursor_id = upto_id), false) from workbench.backfills where task = %(task)s;
