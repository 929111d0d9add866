-- name: drop_tables
drop table if exists workbench.verification_chunks, workbench.changed_content, workbench.backfill_events, workbench.backfill_engines,
    workbench.backfill_wishes, workbench.measurements, workbench.unmapped_tags, workbench.tag_spellings,
    workbench.backfills, workbench.verifications, workbench.runs, workbench.pipelines,
    workbench.loads, workbench.identity;

-- name: drop_carry_rights
drop function if exists workbench.carry_rights(text, text, text);
