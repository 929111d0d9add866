-- name: environment
select environment from workbench.identity;

-- name: mark_environment
insert into workbench.identity (environment) values (%(environment)s)
on conflict (singleton) do update set environment = excluded.environment;

-- name: find_load
select items_loaded, lines_rejected, loaded_at from workbench.loads
where dataset = %(dataset)s and digest = %(digest)s;

-- name: record_load
insert into workbench.loads (dataset, digest, items_loaded, lines_rejected)
values (%(dataset)s, %(digest)s, %(items_loaded)s, %(lines_rejected)s);

-- name: unfinished_pipeline
-- The newest start of a pipeline, if it did not end well; a repeated start goes on with it.
select pipeline_id from (
    select pipeline_id, state from workbench.pipelines
    where name = %(name)s order by started_at desc limit 1
) newest where state <> 'ok';

-- name: start_pipeline
insert into workbench.pipelines (pipeline_id, name, state) values (%(pipeline_id)s, %(name)s, 'running')
on conflict (pipeline_id) do update set state = 'running', ended_at = null;

-- name: end_pipeline
update workbench.pipelines set state = %(state)s, ended_at = now() where pipeline_id = %(pipeline_id)s;

-- name: finished_steps
-- A dry run finished nothing, and neither did a run whose phase (the notebook's name behind its number)
-- was undone since.
select step from workbench.runs r
where pipeline_id = %(pipeline_id)s and state = 'ok' and coalesce(parameters ->> 'dry_run', 'false') <> 'true'
  and not exists (select from workbench.verifications v
                  where v.phase = substr(r.notebook, 4) and v.details ->> 'undone' = 'true'
                    and v.verified_at > r.started_at);

-- name: start_run
insert into workbench.runs
    (run_id, pipeline_id, step, notebook, state, actor, parameters, notebook_digest, output_path, deadline_at,
     resumed_from, host, process_id)
values (%(run_id)s, %(pipeline_id)s, %(step)s, %(notebook)s, 'running', %(actor)s, %(parameters)s,
        %(notebook_digest)s, %(output_path)s, %(deadline_at)s, %(resumed_from)s, %(host)s, %(process_id)s);

-- name: beat
update workbench.runs set heartbeat_at = now() where run_id = %(run_id)s and state = 'running';

-- name: end_run
-- A run ends once: one that was declared lost stays lost.
update workbench.runs set state = %(state)s, failure = %(failure)s, ended_at = now()
where run_id = %(run_id)s and state = 'running';

-- name: running_runs
select run_id, notebook, actor, parameters, notebook_digest, output_path, pipeline_id, step, deadline_at,
       resumed_from, state, started_at, host, process_id,
       extract(epoch from clock_timestamp() - heartbeat_at)::double precision
from workbench.runs where state = 'running' order by started_at;

-- name: find_runs
select run_id, notebook, actor, parameters, notebook_digest, output_path, pipeline_id, step, deadline_at,
       resumed_from, state, started_at, host, process_id,
       extract(epoch from clock_timestamp() - heartbeat_at)::double precision
from workbench.runs where starts_with(run_id::text, %(prefix)s) order by started_at desc limit 5;

-- name: list_runs
select run_id, notebook, state, actor, started_at, ended_at, output_path, failure
from workbench.runs order by started_at desc limit %(limit)s;

-- name: record_verification
insert into workbench.verifications (phase, run_id, passed, examined, mismatches, details, coverage, started_at)
values (%(phase)s, %(run_id)s, %(passed)s, %(examined)s, %(mismatches)s, %(details)s, %(coverage)s,
        coalesce(%(started_at)s, now()));

-- name: last_verification
select passed, examined, mismatches, details, verified_at, coverage, started_at from workbench.verifications
where phase = %(phase)s order by verification_id desc limit 1;

-- name: phase_applied
-- How the rows of a backfill stand, over all its ranges.
select count(*), coalesce(sum(rows_read), 0), coalesce(sum(rows_changed), 0),
       coalesce(bool_and(cursor_id = upto_id), false), coalesce(sum(seconds), 0), max(updated_at)
from workbench.backfills where task = %(task)s;

-- name: lock_load
-- Two loads of one file at once would otherwise both find it missing.
select pg_advisory_xact_lock(hashtextextended('genonaut.load.' || %(dataset)s || %(digest)s, 0));

-- name: sequence_runs
-- The starts of sequences by name; `is_open` is one that the next start goes on with, so its runs are still needed.
select pipeline_id::text, name,
       state <> 'ok' and started_at = max(started_at) over (partition by name) as is_open
from workbench.pipelines;
