-- name: tag_names
-- What the tags of a page are called.
select id, name from tags where id = any(%(tags)s);

-- name: user_named
select id from users where username = %(name)s;

-- name: begin
-- lint: allow ban-uncommitted-transaction because the request commits it, or rolls it back
-- A request's transaction and the limit of each of its statements, in one round trip.
begin; set local statement_timeout = {limit_ms};

-- name: begin_snapshot
-- lint: allow ban-uncommitted-transaction because the request commits it, or rolls it back
-- The same where all statements are to see the gallery as it was at the first, and none may write.
begin isolation level repeatable read, read only; set local statement_timeout = {limit_ms};

-- name: begin_bitmaps
-- lint: allow ban-uncommitted-transaction because the request commits it, or rolls it back
-- The same where bitmaps answer. Their statements look a few rows up by keys, whoever asks: prepared, they are planned
-- once for a session, where planning them takes longer than carrying them out.
begin isolation level repeatable read, read only; set local statement_timeout = {limit_ms};
set local plan_cache_mode = force_generic_plan;

-- name: bounds
-- What else bounds a request's transaction on a session that is not our own: there nothing is set for longer.
set local lock_timeout = {lock_ms}; set local idle_in_transaction_session_timeout = {idle_ms};

-- name: readiness
-- Whether pages can be read here: the junction is there, and every source hangs on the common parent.
select to_regclass('content_tags') is not null
   and (select count(*) from pg_inherits where inhparent = to_regclass('content_items_all') and not inhdetachpending)
       = cardinality(%(partitions)s::text[]);
