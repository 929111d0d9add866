-- name: settle
-- The gallery lies in public, and so do the functions of its triggers; a schema of the role's own must
-- not come first. DDL is bounded by lock timeouts and a backfill by its own, so the server's
-- statement_timeout would only break long validations. JIT compiles a batch anew each time, which
-- before PostgreSQL 18 costs more than most batches.
select set_config('search_path', 'public', false), set_config('statement_timeout', '0', false),
       set_config('jit', 'off', false);

-- name: settle_reader
-- Which plan is right depends on the very tags that are asked for, so a statement that is prepared is planned
-- anew each time. Memoize never pays in the gallery's statements, where no item is looked up twice, and is
-- chosen all the same: PostgreSQL misjudges how many different ids an intermediate result has.
select set_config('plan_cache_mode', 'force_custom_plan', false), set_config('enable_memoize', 'off', false);

-- name: settle_bounds
-- Sessions of the service are bounded from the start, whatever the role's own settings are, in milliseconds.
select set_config('statement_timeout', %(statement_ms)s::int::text, false),
       set_config('lock_timeout', %(lock_ms)s::int::text, false),
       set_config('idle_in_transaction_session_timeout', %(idle_ms)s::int::text, false);

-- name: first_schema
-- Where names without a schema lead, and for whom.
select coalesce(current_schema(), 'none'), current_user;

-- name: set_lock_timeout
-- For this transaction only. Behind a pooler `settle` was not run, so what it sets is set here too.
select set_config('lock_timeout', %(lock_timeout)s, true), set_config('statement_timeout', '0', true),
       set_config('search_path', 'public', true);

-- name: set_session_lock_timeout
-- For statements that refuse a transaction block; only on a session that is our own.
select set_config('lock_timeout', %(lock_timeout)s, false);

-- name: lock_timeout
-- What is in force, in milliseconds, and on which server session.
select (extract(epoch from current_setting('lock_timeout')::interval) * 1000)::bigint, pg_backend_pid();

-- name: session_of_statement
-- The server session that carries out a statement of ours behind a pooler, found by its first words.
select pid from pg_stat_activity where state = 'active' and starts_with(query, %(marker)s);

-- name: blocking_sessions
-- Whom a session waits for: those that hold what it wants, and those ahead of it in the queue.
-- Number 0 stands for a prepared transaction. Another user's query may not be shown to us.
select blocker, coalesce(a.usename, a.backend_type, 'nobody'), coalesce(a.application_name, ''),
       coalesce(a.state, a.backend_type, 'prepared transaction'),
       coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::int, left(coalesce(a.query, ''), 120)
from unnest(pg_blocking_pids(%(pid)s)) blocker left join pg_stat_activity a on a.pid = blocker
order by blocker;
