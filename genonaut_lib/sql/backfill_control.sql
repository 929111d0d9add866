-- name: wish
select wanted, workers, batch_target_s, pause_s, requested_by from workbench.backfill_wishes where task = %(task)s;

-- name: make_wish
-- A knob that is not given keeps what was wished before.
insert into workbench.backfill_wishes (task, wanted, workers, batch_target_s, pause_s, requested_by)
values (%(task)s, coalesce(%(wanted)s, 'run'), %(workers)s, %(batch_target_s)s, %(pause_s)s, %(requested_by)s)
on conflict (task) do update
set wanted = coalesce(%(wanted)s, backfill_wishes.wanted),
    workers = coalesce(excluded.workers, backfill_wishes.workers),
    batch_target_s = coalesce(excluded.batch_target_s, backfill_wishes.batch_target_s),
    pause_s = coalesce(excluded.pause_s, backfill_wishes.pause_s),
    requested_by = excluded.requested_by, requested_at = now();

-- name: forget_cancel
-- A cancel ends the engines that run; the next start is a new decision.
update workbench.backfill_wishes set wanted = 'run' where task = %(task)s and wanted = 'cancel';

-- name: sign_on
insert into workbench.backfill_engines (engine_id, task, run_id, host, process_id)
values (%(engine_id)s, %(task)s, %(run_id)s, %(host)s, %(process_id)s);

-- name: beat
update workbench.backfill_engines
set state = %(state)s, reasons = %(reasons)s, workers = %(workers)s, batch_target_s = %(batch_target_s)s,
    pause_s = %(pause_s)s, rows_per_second = %(rows_per_second)s, eta_s = %(eta_s)s, active_s = %(active_s)s,
    seen_at = now()
where engine_id = %(engine_id)s;

-- name: sign_off
update workbench.backfill_engines set state = %(state)s, ended_at = now(), seen_at = now()
where engine_id = %(engine_id)s;

-- name: note_event
insert into workbench.backfill_events (task, engine_id, event, details)
values (%(task)s, %(engine_id)s, %(event)s, %(details)s);

-- name: engines
-- Engines at work: those that were seen in the last seconds and did not sign off. The clock, not now():
-- somebody may ask again and again in one transaction.
select engine_id, run_id, host, process_id, state, reasons, workers, batch_target_s, pause_s,
       rows_per_second, eta_s, active_s, started_at, extract(epoch from clock_timestamp() - seen_at)::double precision
from workbench.backfill_engines
where task = %(task)s and ended_at is null and seen_at > clock_timestamp() - make_interval(secs => %(silent_s)s)
order by started_at;

-- name: tasks
-- Tasks that were ever started, the last one first.
select task, max(updated_at) from workbench.backfills group by task order by 2 desc;

-- name: events
select at, event, details from workbench.backfill_events where task = %(task)s order by event_id desc limit %(limit)s;
