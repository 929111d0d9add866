-- name: bound
-- For this transaction only, so that nothing is left on a session that a pooler gives to others. A tighter
-- limit that is in force already stays; 0 means none.
select current_setting('statement_timeout'), found.limit_ms,
       set_config('statement_timeout', found.limit_ms::text, true)
from (
    select least(
        nullif((extract(epoch from current_setting('statement_timeout')::interval) * 1000)::bigint, 0),
        %(budget_ms)s::bigint
    ) as limit_ms
) found;

-- name: release
-- Inside a transaction of the caller's the limit would hold until its end.
select set_config('statement_timeout', %(setting)s, true);
