-- name: try_lock
select pg_try_advisory_lock(hashtextextended(%(key)s, 0));

-- name: try_lock_shared
select pg_try_advisory_lock_shared(hashtextextended(%(key)s, 0));

-- name: unlock
select pg_advisory_unlock(hashtextextended(%(key)s, 0));

-- name: unlock_shared
select pg_advisory_unlock_shared(hashtextextended(%(key)s, 0));

-- name: try_lock_in_transaction
-- One and the same lock as `try_lock`, whichever of the two takes it.
select pg_try_advisory_xact_lock(hashtextextended(%(key)s, 0));

-- name: try_lock_shared_in_transaction
select pg_try_advisory_xact_lock_shared(hashtextextended(%(key)s, 0));

-- name: stay
-- A keeper is idle in its transaction for hours, and that is its work.
select set_config('idle_in_transaction_session_timeout', '0', true);
