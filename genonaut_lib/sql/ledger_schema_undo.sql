-- lint: allow missing-lock because the ledger is the workbench's own: no reader of the gallery waits for it

-- name: drop_tag_decisions
drop view if exists workbench.tag_decisions;

-- name: drop_tables
drop table if exists workbench.changed_content, workbench.backfill_events, workbench.backfill_engines,
    workbench.backfill_wishes, workbench.measurements, workbench.repaired_tags, workbench.tag_policies,
    workbench.unmapped_tags, workbench.tag_spellings, workbench.backfills, workbench.verification_chunks,
    workbench.verifications, workbench.scheduled_runs, workbench.runs, workbench.pipelines, workbench.loads, workbench.identity;

-- name: drop_carry_rights
drop function if exists workbench.carry_rights(text, text, text);

-- name: drop_run_records
drop table if exists workbench.run_records;

-- name: drop_approvals
drop table if exists workbench.approvals;

-- name: drop_refuse_change
drop function if exists workbench.refuse_change();
