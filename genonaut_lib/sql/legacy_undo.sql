-- lint: allow missing-lock because it runs on an empty gallery only

-- name: drop_tables
drop table if exists content_items_auto, content_items, users;

-- name: drop_prompt_function
drop function if exists forbid_prompt_change();
