-- name: try_lock
-- One worker a task; the lock goes with the session, so a killed worker leaves none behind.
select pg_try_advisory_lock(hashtextextended('genonaut.backfill.' || %(task)s, 0));

-- name: unlock
select pg_advisory_unlock(hashtextextended('genonaut.backfill.' || %(task)s, 0));

-- name: open_range
-- The upper bound is fixed here; rows written later are the triggers' business.
insert into workbench.backfills (task, source, range_no, after_id, upto_id, cursor_id, rows_total)
select %(task)s, %(source)s, %(range_no)s, %(after_id)s, %(upto_id)s, %(after_id)s,
       (select count(*) from {table} where id > %(after_id)s and id <= %(upto_id)s)
on conflict (task, source, range_no) do nothing;

-- name: ranges
select range_no, upto_id, cursor_id, rows_total, rows_read, rows_changed
from workbench.backfills where task = %(task)s and source = %(source)s order by range_no;

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
where task = %(task)s and source = %(source)s and range_no = %(range_no)s and cursor_id = %(after)s
returning 1;

-- name: finish_range
update workbench.backfills set cursor_id = upto_id, updated_at = now()
where task = %(task)s and source = %(source)s and range_no = %(range_no)s;

-- name: forget
delete from workbench.backfills where task = %(task)s;

-- name: set_local
-- A commit lost in a crash of the server takes its checkpoint with it, so it need not be waited for.
-- A batch joins its rows with themselves, and the planner, which sees no statistics inside a
-- statement, would now and then do so row by row: nested loops only where nothing else can.
select set_config('lock_timeout', %(lock_timeout)s, true),
       set_config('statement_timeout', %(statement_timeout)s, true),
       set_config('synchronous_commit', 'off', true),
       set_config('enable_nestloop', 'off', true),
       set_config('genonaut.backfill', 'on', true);

-- name: forget_with_schema
-- lock: ROW EXCLUSIVE on the ledger
-- What the checkpoints stand for goes with the table or column it was written to.
delete from workbench.backfills where task = {task};
