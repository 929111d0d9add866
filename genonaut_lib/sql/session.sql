-- name: settle
-- The gallery lies in public, and so do the functions of its triggers; a schema of the role's own must
-- not come first. DDL is bounded by lock timeouts and a backfill by its own, so the server's
-- statement_timeout would only break long validations. JIT compiles a batch anew each time, which
-- before PostgreSQL 18 costs more than most batches.
select set_config('search_path', 'public', false), set_config('statement_timeout', '0', false),
       set_config('jit', 'off', false);
