-- name: ledger_of
-- What tells this ledger from every other one: the instant its database was adopted. Dump and restore keep it.
select environment, adopted_at from workbench.identity;

-- name: bound_wait
-- Whoever holds the lock of the chain does so for milliseconds; one that hangs must not hang us.
select set_config('lock_timeout', %(timeout)s, true);

-- name: lock_chain
select pg_advisory_xact_lock(hashtextextended('genonaut.run_records', 0));

-- name: head
select place, hash from workbench.run_records order by place desc limit 1;

-- name: head_of_folder
select body from workbench.run_records where folder_id = %(folder_id)s order by folder_place desc limit 1;

-- name: head_of_place
-- The newest record made at a path of a host, whichever folder lay there; both are told as they stand in a body.
select body from workbench.run_records
where strpos(body, %(host)s) > 0 and strpos(body, %(path)s) > 0 order by place desc limit 1;

-- name: record_of_run
select body from workbench.run_records where run_id = %(run_id)s;

-- name: enter
-- Entering a record twice does nothing the second time.
insert into workbench.run_records
    (place, previous, hash, record_hash, folder_id, folder_place, kind, run_id, body)
values (%(place)s, %(previous)s, %(hash)s, %(record_hash)s, %(folder_id)s, %(folder_place)s, %(kind)s,
        %(run_id)s, %(body)s)
on conflict (record_hash) do nothing;

-- name: rows
select place, previous, hash, record_hash, folder_id, folder_place, kind, run_id, body
from workbench.run_records order by place;

-- name: runs
select run_id, notebook, state, actor, parameters, notebook_digest, output_path, pipeline_id, step, started_at,
       ended_at, plan_digest, approval
from workbench.runs order by started_at;

-- name: runs_called
-- Runs whose id begins with what was typed; more than one means that it was too short.
select run_id, notebook, state, actor, parameters, notebook_digest, output_path, pipeline_id, step, started_at,
       ended_at, plan_digest, approval
from workbench.runs where starts_with(run_id::text, %(start)s) order by started_at limit 20;

-- name: unsealed_runs
-- A run that never said where it writes is anybody's to seal.
select run_id, notebook, state, actor, parameters, notebook_digest, output_path, pipeline_id, step, started_at,
       ended_at, plan_digest, approval
from workbench.runs r
where state <> 'running' and (output_path is null or starts_with(output_path, %(folder)s))
  and not exists (select from workbench.run_records s where s.run_id = r.run_id)
order by started_at;
