-- name: lock
-- One change of the hierarchy at a time: two sessions that each add half of a cycle would see neither half.
-- The lock ends with the transaction, so whoever gets it sees what was committed before, if its snapshot is young.
select pg_advisory_xact_lock(hashtextextended('genonaut: tag hierarchy', 0)),
       current_setting('transaction_isolation');

-- name: names
select id, name from tags where id = any(%(tags)s);

-- name: edges_above
-- Every edge from a tag upwards, once, whatever ways lead there; UNION ends the walk in a cycle, too.
with recursive above as (
    select tag_id, parent_id from tag_parents where tag_id = %(tag_id)s
    union
    select p.tag_id, p.parent_id from tag_parents p join above a on a.parent_id = p.tag_id
)
select a.tag_id, a.parent_id, t.name from above a join tags t on t.id = a.parent_id order by t.name collate "C";

-- name: edges
select c.name, p.name from tag_parents e join tags c on c.id = e.tag_id join tags p on p.id = e.parent_id
order by c.name collate "C", p.name collate "C";

-- name: add
insert into tag_parents (tag_id, parent_id) values (%(child_id)s, %(parent_id)s) on conflict do nothing;

-- name: remove
delete from tag_parents where tag_id = %(child_id)s and parent_id = %(parent_id)s;
