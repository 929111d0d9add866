-- name: create_table
-- lock: SHARE ROW EXCLUSIVE on the content table
-- The table is new and empty, so its foreign key has nothing to scan: the lock is held for an instant.
-- It points at the partition, whose own primary key is (id); ids repeat between the two sources.
create table if not exists {sidecar} (
    source_table text not null default {table_name} check (source_table = {table_name}),
    source_id integer primary key references {table} (id) on delete cascade,
    metadata_more jsonb not null default '{{}}'
);
-- Whatever a role may do with the content, it may do with its rarely used fields.
select workbench.carry_rights({sidecar_name});

-- name: drop_table
-- lock: ACCESS EXCLUSIVE
-- Looks again once it holds the lock: nobody can have written a row in between.
do $$
begin
    lock table {sidecar} in access exclusive mode;
    if exists (select from {sidecar}) then
        raise exception using message = {refusal}, errcode = 'object_in_use';
    end if;
    drop table {sidecar};
end
$$;
