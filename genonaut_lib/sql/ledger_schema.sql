-- lint: allow missing-lock because the ledger is the workbench's own: no reader of the gallery waits for it

-- name: identity
-- Which environment this database is; one row. Writing commands compare it with their own.
create table if not exists workbench.identity (
    singleton boolean primary key default true check (singleton),
    environment text not null,
    adopted_at timestamptz not null default now()
);

-- name: loads
-- What was loaded, by content digest, so that a repeated load does nothing.
create table if not exists workbench.loads (
    dataset text not null,
    digest text not null,
    items_loaded bigint not null,
    lines_rejected bigint not null,
    loaded_at timestamptz not null default now(),
    primary key (dataset, digest)
);

-- name: pipelines
create table if not exists workbench.pipelines (
    pipeline_id uuid primary key,
    name text not null,
    state text not null check (state in ('running', 'ok', 'failed')),
    started_at timestamptz not null default now(),
    ended_at timestamptz
);

-- name: runs
-- One row for each execution of a notebook.
create table if not exists workbench.runs (
    run_id uuid primary key,
    pipeline_id uuid references workbench.pipelines (pipeline_id),
    step text,
    notebook text not null,
    state text not null check (state in ('running', 'ok', 'failed', 'cancelled', 'killed', 'lost')),
    actor text not null,
    parameters jsonb not null,
    notebook_digest text not null,
    output_path text,
    failure jsonb,
    started_at timestamptz not null default now(),
    ended_at timestamptz
);

-- name: runs_columns
-- Whether a process is behind a run: where it is, when it was last heard of, and by when it must be done.
-- `resumed_from` is the run that this one goes on with.
alter table workbench.runs
    add column if not exists deadline_at timestamptz,
    add column if not exists heartbeat_at timestamptz,
    add column if not exists resumed_from uuid,
    add column if not exists host text,
    add column if not exists process_id integer;

-- name: runs_plan_columns
-- What a run that cannot be taken back showed: its plan, the digest of it, and the approval it was applied by.
alter table workbench.runs
    add column if not exists plan_digest text,
    add column if not exists plan jsonb,
    add column if not exists approval jsonb;

-- name: scheduled_runs
-- The times at which sequences were due, one row each: whoever enters it has claimed that time for its
-- scheduler. `times` is what the time was due by; `baseline` is the newest time before a schedule was known.
create table if not exists workbench.scheduled_runs (
    pipeline text not null,
    due_at timestamptz not null,
    times text not null,
    state text not null check (state in ('baseline', 'queued', 'running', 'ok', 'failed', 'refused', 'later',
                                         'cancelled', 'expired', 'missed', 'skipped', 'lost')),
    scheduler_id uuid not null,
    host text not null,
    process_id integer not null,
    attempts integer not null default 0,
    exit_code integer,
    remark text,
    claimed_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    started_at timestamptz,
    ended_at timestamptz,
    primary key (pipeline, due_at)
);

-- name: verifications
-- What was compared, how much of it, and what differed; a contracting revision asks this table.
-- `details` is json, not jsonb: figures keep the order they are read in.
create table if not exists workbench.verifications (
    verification_id bigint generated always as identity primary key,
    phase text not null,
    run_id uuid references workbench.runs (run_id),
    passed boolean not null,
    examined bigint not null,
    mismatches bigint not null,
    details json not null,
    verified_at timestamptz not null default now(),
    coverage double precision not null,
    started_at timestamptz not null
);

-- name: verification_chunks
-- Ranges of ids a verification compared, each written as it was done. `follows` is the newest record of
-- the phase when it began: chunks that follow an older one belong to a verification that is over.
create table if not exists workbench.verification_chunks (
    phase text not null,
    source text not null,
    after_id bigint not null,
    upto_id bigint not null,
    follows bigint not null,
    started_at timestamptz not null,
    rows_examined bigint not null,
    pairs bigint not null,
    mismatches jsonb not null,
    seconds double precision not null,
    verified_at timestamptz not null default now(),
    primary key (phase, source, after_id),
    check (after_id < upto_id)
);

-- name: backfills
-- The checkpoint of each range of each backfill; a batch and its checkpoint commit together.
create table if not exists workbench.backfills (
    task text not null,
    source text not null,
    range_no integer not null,
    after_id bigint not null,
    upto_id bigint not null,
    cursor_id bigint not null,
    rows_total bigint not null,
    rows_read bigint not null default 0,
    rows_changed bigint not null default 0,
    batches integer not null default 0,
    seconds double precision not null default 0,
    updated_at timestamptz not null default now(),
    primary key (task, source, range_no),
    check (after_id <= cursor_id and cursor_id <= upto_id)
);

-- name: backfill_wishes
-- What people want of a backfill, said from any process; null leaves a knob to the settings.
create table if not exists workbench.backfill_wishes (
    task text primary key,
    wanted text not null default 'run' check (wanted in ('run', 'pause', 'cancel')),
    workers integer check (workers > 0),
    batch_target_s double precision check (batch_target_s > 0),
    pause_s double precision check (pause_s >= 0),
    requested_by text not null,
    requested_at timestamptz not null default now()
);

-- name: backfill_engines
-- One row for each start of the engine; one that was not seen for some seconds has no process behind it.
create table if not exists workbench.backfill_engines (
    engine_id uuid primary key,
    task text not null,
    run_id uuid,
    host text not null,
    process_id integer not null,
    state text not null default 'running',
    reasons jsonb not null default '[]',
    workers integer,
    batch_target_s double precision,
    pause_s double precision,
    rows_per_second double precision,
    eta_s double precision,
    active_s double precision,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    ended_at timestamptz
);

-- name: backfill_events
-- Why a backfill paused, went on, was retuned or ended: the record of its manners.
create table if not exists workbench.backfill_events (
    event_id bigint generated always as identity primary key,
    task text not null,
    engine_id uuid not null,
    event text not null,
    details jsonb not null,
    at timestamptz not null default now()
);

-- name: changed_content
-- Items written while the junction is loaded in bulk, to be caught up with afterwards; a null id means
-- that the whole table was truncated.
create table if not exists workbench.changed_content (
    note_id bigint generated always as identity primary key,
    content_source varchar(10) not null,
    content_id integer
);

-- name: tag_spellings
-- Every distinct element found in a legacy tag array, what it is, what was decided, and the tag it became.
-- `late` ones were written after the seeding and met by the backfill only.
create table if not exists workbench.tag_spellings (
    digest bytea primary key,
    element jsonb not null,
    uses bigint not null,
    kind text,
    decision text check (decision in ('map', 'create', 'quarantine')),
    tag_id uuid,
    late boolean not null default false
);

-- name: unmapped_tags
-- Every element of a legacy tag array that became no tag, with its place and the reason.
create table if not exists workbench.unmapped_tags (
    content_source varchar(10) not null,
    content_id integer not null,
    position integer not null,
    element jsonb not null,
    reason text not null,
    noted_at timestamptz not null default now(),
    primary key (content_source, content_id, position)
);

-- name: tag_policies
-- What becomes of each kind of dirty data, as the phase that decides it was told.
create table if not exists workbench.tag_policies (
    kind text primary key,
    decision text not null check (decision in ('map', 'create', 'quarantine')),
    phase text not null,
    decided_at timestamptz not null default now()
);

-- name: repaired_tags
-- Every element that was mapped in an unusual way because of its place: a double that fell together
-- with an earlier one of its array (`duplicate`), a bare string read as an array (`not_an_array`).
create table if not exists workbench.repaired_tags (
    content_source varchar(10) not null,
    content_id integer not null,
    position integer not null,
    element jsonb not null,
    kind text not null,
    tag_id uuid not null,
    noted_at timestamptz not null default now(),
    primary key (content_source, content_id, position)
);

-- name: tag_decisions
-- Every decision about dirty data. `spellings` and `counted` are what the seeding saw; `elements` and
-- `items` what the backfill wrote down, place by place, which it does where a tag was not simply mapped.
create or replace view workbench.tag_decisions as
with counted as (
    select kind, decision, count(*) as spellings, sum(uses)::bigint as counted
    from workbench.tag_spellings where kind <> 'name' group by kind, decision
), recorded as (
    select kind, decision, count(*) as elements, count(distinct (content_source, content_id)) as items
    from (
        select reason as kind, 'quarantine' as decision, content_source, content_id from workbench.unmapped_tags
        union all
        select kind, 'map', content_source, content_id from workbench.repaired_tags
    ) places group by kind, decision
)
select kind, decision, coalesce(spellings, 0) as spellings, coalesce(counted, 0) as counted, elements, items
from counted full join recorded using (kind, decision);

-- name: measurements
-- One row for each case of a gallery measurement; `row_keys` are the rows the page showed.
-- Null row_keys mean the statement ran into its time limit, which p50_ms and p95_ms then hold.
create table if not exists workbench.measurements (
    measurement_id bigint generated always as identity primary key,
    moment text not null check (moment in ('before', 'after')),
    case_name text not null,
    path text not null,
    query jsonb not null,
    row_keys jsonb,
    p50_ms double precision not null,
    p95_ms double precision not null,
    samples integer not null,
    measured_at timestamptz not null default now()
);

-- name: run_records
-- The ledger's copy of the chain of records: one row for each sealed record, as it stands in its folder's file.
-- `place` is dense and `hash` covers the row before, so that a row that is edited, moved or missing shows.
create table if not exists workbench.run_records (
    place bigint primary key check (place > 0),
    previous text not null unique,
    hash text not null unique,
    record_hash text not null unique,
    folder_id text not null,
    folder_place bigint not null,
    kind text not null,
    run_id uuid unique,
    body text not null,
    entered_at timestamptz not null default now(),
    unique (folder_id, folder_place)
);

-- name: refuse_change
create or replace function workbench.refuse_change() returns trigger language plpgsql as $$
begin
    raise insufficient_privilege
        using message = 'workbench.' || tg_table_name || ' takes new rows only: ' || tg_op || ' is refused';
end
$$;

-- name: keep_run_records
create or replace trigger keep_run_records before update or delete or truncate on workbench.run_records
for each statement execute function workbench.refuse_change();

-- name: always_keep_run_records
-- Also in a session that calls itself a replica, where ordinary triggers are silent.
alter table workbench.run_records enable always trigger keep_run_records;

-- name: approvals
-- Who allowed which plan, as the dry run `run_id` showed it. `account` is the approver's by its number, and
-- `database_user` whom the server knew: where two names share them, one person may have been both.
create table if not exists workbench.approvals (
    approval_id bigint generated always as identity primary key,
    run_id uuid not null,
    environment text not null,
    phase text not null,
    plan_digest text not null,
    plan jsonb not null,
    approver text not null,
    account text not null,
    database_user text not null default session_user,
    note text,
    approved_at timestamptz not null default now()
);

-- name: keep_approvals
create or replace trigger keep_approvals before update or delete or truncate on workbench.approvals
for each statement execute function workbench.refuse_change();

-- name: always_keep_approvals
alter table workbench.approvals enable always trigger keep_approvals;

-- name: carry_rights
-- Roles that hold a privilege on the content tables get `given` (by default the same) on an object the
-- migration made; without it an application with a role of its own would stand before a closed door.
create or replace function workbench.carry_rights(object text, held text default null, given text default null)
returns void language plpgsql as $$
declare found record;
begin
    for found in
        select distinct case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end as role,
               a.privilege_type as privilege
        from pg_class c cross join lateral aclexplode(c.relacl) a
        where c.oid in (to_regclass('content_items'), to_regclass('content_items_auto'))
          and a.grantee <> c.relowner and (held is null or a.privilege_type = held)
    loop
        execute 'grant ' || coalesce(given, found.privilege) || ' on ' || object || ' to ' || found.role;
    end loop;
end
$$;
