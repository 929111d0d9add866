-- name: resolve
-- Everything that any of the words may mean, by four unique indexes; which meaning wins is decided by the caller.
select 'id', id::text, id from tags where id = any(%(ids)s::uuid[])
union all
select 'slug', slug, id from tags where slug = any(%(words)s::text[])
union all
select 'name', name, id from tags where name = any(%(words)s::text[])
union all
select 'alias', spelling, tag_id from tag_aliases where spelling = any(%(words)s::text[]);

-- name: near
-- Spellings that words without a tag may have meant, each with its tag's name. Every part is bounded, however many
-- tags there are: neighbours in the order of the names' index, whatever its collation; names that hold the word, among
-- the tags with the lowest numbers; and misspellings at one letter's distance, each looked up in an index.
select n.name as spelling, n.name as name
from unnest(%(starts)s::text[]) s (start)
cross join lateral (
    (select t.name from tags t where t.name >= s.start order by t.name limit %(neighbours)s)
    union all
    (select t.name from tags t where t.name < s.start order by t.name desc limit %(neighbours)s)
) n
union
select h.name, h.name
from unnest(%(words)s::text[]) w (word)
cross join lateral (
    select t.name from tags t where t.tag_no <= %(scanned)s and strpos(t.name, w.word) > 0
    order by char_length(t.name), t.name limit %(neighbours)s
) h
union
select t.name, t.name from tags t where t.name = any(%(variants)s::text[])
union
select a.spelling, t.name
from tag_aliases a join tags t on t.id = a.tag_id
where a.spelling = any(%(variants)s::text[]);

-- name: families
-- Each tag with its descendants, as pairs. `union` takes a pair once, so a circle that somebody wrote ends where it
-- began; the limit ends the walk itself, since rows are made only as they are fetched.
with recursive family (root, tag_id) as (
    select root, root from unnest(%(tags)s::uuid[]) root
    union
    select f.root, p.tag_id from family f join tag_parents p on p.parent_id = f.tag_id
)
select root, tag_id from family limit %(limit)s;
