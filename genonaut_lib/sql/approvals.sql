-- name: record_plan
update workbench.runs set plan_digest = %(plan_digest)s, plan = %(plan)s where run_id = %(run_id)s;

-- name: record_use
-- Before anything is done, so that the record of a run that was killed names its approval as well.
update workbench.runs set approval = %(approval)s where run_id = %(run_id)s;

-- name: plan_of_run
select plan_digest, plan, extract(epoch from clock_timestamp() - started_at)::double precision
from workbench.runs where run_id = %(run_id)s and plan_digest is not null;

-- name: actor_of_run
select actor from workbench.runs where run_id = %(run_id)s;

-- name: newest_dry_run
-- A dry run that showed this very plan and can still be approved.
select run_id from workbench.runs
where plan_digest = %(plan_digest)s and state = 'ok' and parameters ->> 'dry_run' = 'true'
  and parameters ->> 'environment' = %(environment)s
  and started_at > clock_timestamp() - make_interval(secs => %(valid_s)s)
order by started_at desc limit 1;

-- name: approve
insert into workbench.approvals (run_id, environment, phase, plan_digest, plan, approver, account, note)
values (%(run_id)s, %(environment)s, %(phase)s, %(plan_digest)s, %(plan)s, %(approver)s, %(account)s, %(note)s)
returning approval_id;

-- name: approvals
-- The newest first.
select approval_id, run_id, environment, phase, plan_digest, plan, approver, account, database_user, note, approved_at,
       extract(epoch from clock_timestamp() - approved_at)::double precision
from workbench.approvals order by approval_id desc;

-- name: approvals_of_phase
select approval_id, run_id, environment, phase, plan_digest, plan, approver, account, database_user, note, approved_at,
       extract(epoch from clock_timestamp() - approved_at)::double precision
from workbench.approvals where phase = %(phase)s and environment = %(environment)s order by approval_id desc;
