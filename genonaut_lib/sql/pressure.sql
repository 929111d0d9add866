-- name: rights
-- Without pg_read_all_stats the columns of other roles' sessions come back as null.
select current_user, pg_has_role('pg_read_all_stats', 'usage'),
       has_function_privilege('pg_ls_archive_statusdir()', 'execute');

-- name: position
-- The end of the WAL in bytes.
select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint;

-- name: replicas
-- Logical receivers confirm when they please, so their time says nothing of what readers see; their
-- slots are looked at instead. pg_receivewal and pg_basebackup replay nothing and have no replay_lsn.
-- A null state is a row this role may not see.
select r.pid, concat_ws(' at ', nullif(r.application_name, ''), host(r.client_addr)),
       (r.replay_lsn - '0/0'::pg_lsn)::bigint, (pg_current_wal_lsn() - r.replay_lsn)::bigint,
       extract(epoch from r.replay_lag)::float8,
       extract(epoch from clock_timestamp() - r.reply_time)::float8, r.state is not null
from pg_stat_replication r
where (r.replay_lsn is not null or r.state is null)
  and coalesce(r.application_name, '') <> all(%(ignored)s::text[])
  and not exists (select from pg_replication_slots s where s.active_pid = r.pid and s.slot_type = 'logical')
order by r.pid;

-- name: slots
-- Whoever reads from a slot or does not: what it keeps lies on this server's disk. A lost slot keeps nothing.
select slot_name, active, (pg_current_wal_lsn() - restart_lsn)::float8 / 1048576
from pg_replication_slots where restart_lsn is not null and wal_status is distinct from 'lost'
order by slot_name;

-- name: archiver
-- The backlog is the number of whole segments after the last archived one, which needs no rights and
-- does not grow with the backlog. It is null where that one is no plain segment (a history file), or
-- was forgotten with the statistics; greatest() alone would make that null a zero.
select a.last_failed_wal, extract(epoch from clock_timestamp() - a.last_failed_time)::float8,
       coalesce(a.last_failed_time > coalesce(a.last_archived_time, '-infinity'), false),
       case when plain.name is not null then greatest(
           0, floor((pg_current_wal_lsn() - '0/0'::pg_lsn) / size.segment) - 1 - (
               ('x' || substr(plain.name, 9, 8))::bit(32)::bigint * (4294967296 / size.segment)
               + ('x' || substr(plain.name, 17, 8))::bit(32)::bigint
           )
       )::bigint end
from pg_stat_archiver a
cross join (select pg_size_bytes(current_setting('wal_segment_size')) as segment) size
cross join lateral (
    select case when length(a.last_archived_wal) = 24 and a.last_archived_wal ~ '^[0-9A-F]+$'
                then a.last_archived_wal end as name
) plain
where current_setting('archive_mode') <> 'off';

-- name: archive_files
-- Exact, but the server looks at every file of the folder: 40 to 80 ms for 20,000 of them (measured).
select count(*) from pg_ls_archive_statusdir() where right(name, 6) = '.ready';

-- name: missing
select name from unnest(%(tables)s::text[]) as given (name) where to_regclass(name) is null;

-- name: vacuums
-- A table's TOAST table is vacuumed after it, under an id of its own. VACUUM FULL has another view,
-- and holds the whole table besides.
with watched as (
    select given.name, c.oid, c.reltoastrelid
    from unnest(%(tables)s::text[]) as given (name) join pg_class c on c.oid = to_regclass(given.name)
), running as (
    select pid, relid, 'VACUUM' as command from pg_stat_progress_vacuum where datname = current_database()
    union all
    select pid, relid, command from pg_stat_progress_cluster where datname = current_database()
)
select distinct r.pid, w.name,
       case when a.backend_type = 'autovacuum worker' then 'anti-wraparound autovacuum' else r.command end
from running r
join watched w on r.relid in (w.oid, nullif(w.reltoastrelid, 0))
join pg_stat_activity a on a.pid = r.pid
where a.backend_type <> 'autovacuum worker' or position('(to prevent wraparound)' in a.query) > 0
order by w.name, r.pid;

-- name: waits
-- pg_blocking_pids stops the lock manager for a moment, so it is asked only about long waits. Who
-- waits for an advisory lock of ours waits for the backfill's end, and would never see it if we paused.
with long as materialized (
    select pid, max(extract(epoch from clock_timestamp() - waitstart))::float8 as seconds
    from pg_locks
    where not granted and locktype <> 'advisory' and pid <> all(%(pids)s::integer[])
    group by pid
    having max(clock_timestamp() - waitstart) >= make_interval(secs => %(seconds)s)
)
select pid, seconds from long where pg_blocking_pids(pid) && %(pids)s::integer[] order by seconds desc;

-- name: confine
-- For the transaction of the user's own query.
select set_config('transaction_read_only', 'on', true), set_config('statement_timeout', %(timeout)s, true);
