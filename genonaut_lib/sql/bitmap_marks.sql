-- name: probe
-- What serves in this snapshot, the numbers of some tags and whether they have bitmaps, and the marks that a known snapshot did not see; all of them where something
-- else serves or is sealed than was known: 1:1: is a snapshot that saw nothing. A mark is visible as a row
-- exactly if its transaction is in the snapshot, and pg_visible_in_snapshot asks the same of the older one;
-- no such transaction lies below that one's xmin, which the index on changed_by is searched by. Neither a
-- snapshot of a replica, nor one of a transaction that writes (its own number is among those that the text
-- shows as completed), nor one of a single statement tells what others will see more.
-- OFFSET 0 has a snapshot read once, not for each mark.
select s.serving, s.version, s.chunks, s.ranks, s.rare_most, server.started, server.snapshot, server.in_recovery, s.sealed_at,
       s.built_at, server.database, server.lasting, known.renewed, found.marks, found.rows_read, named.tags
from workbench.bitmap_state s
cross join lateral (
    select pg_postmaster_start_time() as started, pg_current_snapshot()::text as snapshot,
           pg_is_in_recovery() as in_recovery, d.oid::bigint as database,
           not pg_is_in_recovery() and pg_current_xact_id_if_assigned() is null
           and current_setting('transaction_isolation') in ('repeatable read', 'serializable') as lasting
    from pg_database d where d.datname = current_database()
) server
cross join lateral (
    select (server.started, server.database, s.serving, s.built_at, s.version, server.lasting) is distinct from
           (%(server_started)s::timestamptz, %(database)s::bigint, %(epoch)s::int, %(built_at)s::timestamptz,
            %(version)s::bigint, true) as renewed
) known
cross join lateral (
    select case when known.renewed then '1:1:' else %(snapshot)s end::pg_snapshot as snapshot offset 0
) seen
cross join lateral (
    select string_agg(int8send(item.mark), '') as marks, max(item.rows_read) as rows_read
    from (
        select marked.mark, (sum(count(*)) over ())::bigint as rows_read
        from (
            select 2 * m.content_id::bigint + (m.source_type = %(auto)s)::int as mark
            from workbench.bitmap_marks m
            where m.changed_by >= pg_snapshot_xmin(seen.snapshot)
              and not pg_visible_in_snapshot(m.changed_by, seen.snapshot)
            limit %(rows)s
        ) marked
        group by marked.mark limit %(items)s
    ) item
) found
cross join lateral (
    -- Asked in every snapshot: a number is kept for good, but a tag may be deleted and made anew under its old id.
    select string_agg(uuid_send(t.id) || int4send(t.tag_no) || boolsend(b.tag_no is not null), '') as tags
    from tags t left join workbench.bitmap_tags b on b.epoch = s.serving and b.tag_no = t.tag_no
    where t.id = any (%(tags)s::uuid[])
) named
where s.serving is not null;

-- name: images
-- Items of one source as they are in this snapshot: first their places in the bitmaps and, unless they are
-- gone, their columns; then all their tags as one value, eight bytes each, the id and the tag's number, since
-- by the hundred thousand rows are dear to read. LIMIT 1 has each item looked up by its key; without it
-- PostgreSQL may read the whole table to find some thousands.
select wanted.id, item.created_at, item.creator_id, item.is_private,
       sealed.ranks[1 + (wanted.id & %(in_block)s)] as rank, null::bytea as tags
from unnest(%(item_ids)s::int[]) wanted (id)
left join lateral (
    select i.created_at, i.creator_id, i.is_private from {table} i where i.id = wanted.id limit 1
) item on true
left join workbench.bitmap_places sealed
       on sealed.epoch = %(epoch)s and sealed.source_type = %(partition)s
      and sealed.block = wanted.id >> %(block_shift)s
union all
select null, null, null, null, null, string_agg(int4send(j.content_id) || int4send(t.tag_no), '')
from content_tags j join tags t on t.id = j.tag_id
where j.content_source = %(junction)s and j.content_id = any(%(item_ids)s::int[]);
