-- name: create
-- lock: none (new database)
create database {database} template {template};

-- name: create_by_file_copy
-- lock: none (new database)
create database {database} template {template} strategy file_copy;

-- name: drop
-- lint: allow ban-drop-database because only ever a database that the same measurement made
-- lock: none (only ever a database made here)
drop database if exists {database} with (force);
