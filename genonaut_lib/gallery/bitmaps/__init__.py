"""The tag bitmap index: exact pages and exact totals for any tag filter, by set algebra on bitmaps.

Items are ranked by (created_at, source, id), and `CHUNK` ranks make a chunk. For each tag and chunk a
bitmap tells which of its items carry the tag. What changed since it was sealed is marked by triggers,
and read from the content itself in the same snapshot; see docs/bitmaps.md.
"""
