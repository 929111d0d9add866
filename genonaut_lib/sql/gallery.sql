-- name: tag_names
-- What the tags of a page are called.
select id, name from tags where id = any(%(tags)s);

-- name: user_named
select id from users where username = %(name)s;
