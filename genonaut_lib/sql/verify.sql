-- name: try_lock
-- One verification of a phase at a time; the lock goes with the session.
select pg_try_advisory_lock(hashtextextended('genonaut.verify.' || %(phase)s, 0));

-- name: begin
-- Forgets the chunks of verifications that are over, and of those a later backfill outdated; chunks that
-- stay belong to a verification that was killed, and are not read again. Returns the record that the
-- chunks to come follow, and the time they start at.
with newest as (
    select coalesce(max(verification_id), 0) as id from workbench.verifications where phase = %(phase)s
),
moved as (
    select max(updated_at) as at from workbench.backfills where task = any (%(tasks)s)
),
forgotten as (
    delete from workbench.verification_chunks c using newest, moved
    where c.phase = %(phase)s and (c.follows <> newest.id or c.started_at <= moved.at)
    returning 1
)
select id, clock_timestamp() from newest;

-- name: forget
delete from workbench.verification_chunks where phase = %(phase)s;

-- name: chunks
select source, after_id, upto_id, rows_examined, pairs, mismatches, seconds, started_at
from workbench.verification_chunks where phase = %(phase)s order by source desc, after_id;

-- name: record_chunk
insert into workbench.verification_chunks
    (phase, source, after_id, upto_id, follows, started_at, rows_examined, pairs, mismatches, seconds)
values (%(phase)s, %(source)s, %(after_id)s, %(upto_id)s, %(follows)s, %(started_at)s, %(rows_examined)s,
        %(pairs)s, %(found)s, %(seconds)s);

-- name: chunk_end
-- The id of the last row of a chunk of so many rows; no row when there are fewer.
select id from {table} where id > %(after)s and id <= %(upto)s order by id offset %(rows)s - 1 limit 1;

-- name: rows
select count(*) from {table};

-- name: coverage
-- Rows of a table, and those of them inside verified chunks.
select count(*), count(*) filter (where id::bigint <@ (
    select range_agg(int8range(after_id, upto_id, '(]')) from workbench.verification_chunks
    where phase = %(phase)s and source = %(source)s))
from {table};

-- name: moved_at
-- When a backfill last moved; a verification that began before it says nothing about now.
select max(updated_at) from workbench.backfills where task = any (%(tasks)s);

-- name: set_local
-- A chunk is a range of ids: with statistics from before a backfill the planner would now and then read
-- whole tables for it, or look every element up on its own. Its sessions are the parallelism.
select set_config('statement_timeout', %(statement_timeout)s, true), set_config('jit', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true), set_config('work_mem', '32MB', true),
       set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('enable_nestloop', 'off', true), set_config('enable_mergejoin', 'off', true);
