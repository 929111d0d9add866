-- name: holdings
-- Of each source, the viewer's items, and everybody else's public ones. Without a viewer nothing is theirs.
select source_type, count(*) filter (where creator_id = %(viewer)s::uuid),
       count(*) filter (where not is_private and creator_id is distinct from %(viewer)s::uuid)
from content_items_all group by source_type;
