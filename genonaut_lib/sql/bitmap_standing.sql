-- name: standing
-- What the planner wants to know of the tag bitmap index. Items that are marked more than once count once;
-- of very many marks only the first are looked at, which is enough to see that they are too many.
select s.serving, s.ranks, s.chunks,
       (select count(*)
        from (select distinct source_type, content_id
              from (select source_type, content_id from workbench.bitmap_marks limit %(most)s) looked_at) marked)
from workbench.bitmap_state s
where s.serving is not null;

-- name: tags
-- The tags that have bitmaps.
select t.id from workbench.bitmap_tags b join tags t on t.tag_no = b.tag_no where b.epoch = %(epoch)s;
