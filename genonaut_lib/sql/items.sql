-- name: hold
-- The cut over and its undo lock both content tables in a mode that this one conflicts with, before they
-- turn the truth round. So it stays where the next statement finds it until this transaction ends. Both
-- tables, in the order in which those lock them: nobody waits for us while we wait for them.
lock table content_items, content_items_auto in row exclusive mode;

-- name: lock_item
-- Whoever else writes the item waits. Its tags are read by a later statement: one that waited for the lock
-- itself would show the tags from before it waited.
select id from content_items_all where source_type = %(partition)s and id = %(id)s for no key update;

-- name: item
-- One item with its creator's name and its tags. The junction has them before and after the cut over. JSON
-- stays text, so that a number in it comes out as it went in.
select c.title, c.content_type, c.content_data, c.item_metadata::text, c.creator_id, u.username, c.created_at,
       c.updated_at, c.quality_score, c.is_private, c.path_thumb, c.path_thumbs_alt_res::text, c.prompt, l.ids, l.names
from content_items_all c
left join users u on u.id = c.creator_id
cross join lateral (
    select coalesce(array_agg(t.id order by t.name collate "C"), '{{}}') as ids,
           coalesce(array_agg(t.name order by t.name collate "C"), '{{}}') as names
    from content_tags l join tags t on t.id = l.tag_id
    where l.content_id = c.id and l.content_source = %(junction)s
) l
where c.source_type = %(partition)s and c.id = %(id)s;

-- name: has_user
select exists (select from users where id = %(creator)s);

-- name: insert_item
-- Through the parent, whose sequence feeds both sources. The times are the server's.
insert into content_items_all (source_type, title, content_type, content_data, item_metadata, creator_id, created_at,
                               updated_at, quality_score, is_private, path_thumb, path_thumbs_alt_res, prompt, tags)
values (%(partition)s, %(title)s, %(content_type)s, %(content_data)s, %(item_metadata)s, %(creator)s, now(), now(),
        %(quality_score)s, %(is_private)s, %(path_thumb)s, %(path_thumbs_alt_res)s, %(prompt)s, %(tags)s::uuid[])
returning id;

-- name: update_item
-- Nothing is written where nothing differs. The time moves on whatever the clock says: two versions of an
-- item never have the same.
update content_items_all
set updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond'), ({columns}) = row({given})
where source_type = %(partition)s and id = %(id)s
  and (%(retagged)s or row({columns}) is distinct from row({given}))
returning id;

-- name: delete_item
-- Triggers take its tags along, before and after the cut over.
delete from content_items_all where source_type = %(partition)s and id = %(id)s;

-- name: remove_tags
delete from content_tags
where content_id = %(id)s and content_source = %(junction)s and tag_id <> all (%(tags)s::uuid[]);

-- name: add_tags
-- In one order, so that two writers of the same tags do not wait for each other crosswise.
insert into content_tags (content_id, content_source, tag_id)
select %(id)s, %(junction)s, wanted from unnest(%(tags)s::uuid[]) wanted order by wanted
on conflict do nothing;
