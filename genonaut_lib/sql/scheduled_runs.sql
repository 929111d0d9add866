-- name: newest_times
select distinct on (pipeline) pipeline, due_at, times from workbench.scheduled_runs
where pipeline = any(%(pipelines)s) order by pipeline, due_at desc;

-- name: claim_times
-- Of any number of schedulers one enters a row, and has claimed its time.
insert into workbench.scheduled_runs (pipeline, due_at, times, state, scheduler_id, host, process_id, ended_at)
select %(pipeline)s, due_at, %(times)s, %(state)s, %(scheduler_id)s, %(host)s, %(process_id)s,
       case when %(state)s <> 'queued' then now() end
from unnest(%(dues)s::timestamptz[]) due_at
on conflict (pipeline, due_at) do nothing returning due_at;

-- name: start_time
-- Nothing where another scheduler took it over meanwhile; the same again where the answer was lost on its way.
update workbench.scheduled_runs
set state = 'running', attempts = attempts + 1, started_at = now(), seen_at = now()
where pipeline = %(pipeline)s and due_at = %(due_at)s and scheduler_id = %(scheduler_id)s
  and state in ('queued', 'running');

-- name: put_back
-- A start that found the sequence busy is none of those that a scheduler may have died of.
update workbench.scheduled_runs
set state = 'queued', attempts = attempts - 1, exit_code = %(exit_code)s, remark = %(remark)s, seen_at = now()
where pipeline = %(pipeline)s and due_at = %(due_at)s and scheduler_id = %(scheduler_id)s and state = 'running';

-- name: end_time
update workbench.scheduled_runs
set state = %(state)s, exit_code = %(exit_code)s, remark = %(remark)s, ended_at = now()
where pipeline = %(pipeline)s and due_at = %(due_at)s and scheduler_id = %(scheduler_id)s
  and state in ('queued', 'running');

-- name: give_up_older
-- Times that say running while we hold the lease of their sequence have no scheduler behind them any more.
update workbench.scheduled_runs
set state = 'lost', remark = 'Its scheduler was gone when the next time came.', ended_at = now()
where pipeline = %(pipeline)s and due_at < %(due_at)s and state = 'running';

-- name: waits_already
select exists (select from workbench.scheduled_runs
               where pipeline = %(pipeline)s and due_at < %(due_at)s and state = 'queued');

-- name: beat_times
-- Shows that the scheduler lives, and what it still holds.
update workbench.scheduled_runs set seen_at = now()
where scheduler_id = %(scheduler_id)s and state in ('queued', 'running') returning pipeline, due_at;

-- name: held_by_others
select pipeline, due_at, scheduler_id, host, process_id, attempts,
       extract(epoch from clock_timestamp() - seen_at)::double precision
from workbench.scheduled_runs
where state in ('queued', 'running') and scheduler_id <> %(scheduler_id)s and pipeline = any(%(pipelines)s)
order by due_at;

-- name: take_over
update workbench.scheduled_runs
set state = 'queued', scheduler_id = %(scheduler_id)s, host = %(host)s, process_id = %(process_id)s, seen_at = now()
where pipeline = %(pipeline)s and due_at = %(due_at)s and scheduler_id = %(before)s and state in ('queued', 'running');

-- name: recent_times
select pipeline, due_at, state, host, attempts, exit_code, remark, started_at, ended_at
from workbench.scheduled_runs where state <> 'baseline' order by due_at desc, pipeline limit %(limit)s;

-- name: forget_times
-- The newest row of a sequence stays, however old: it tells what was missed since.
delete from workbench.scheduled_runs r
where due_at < now() - make_interval(days => %(days)s) and state not in ('queued', 'running')
  and exists (select from workbench.scheduled_runs newer where newer.pipeline = r.pipeline and newer.due_at > r.due_at);
