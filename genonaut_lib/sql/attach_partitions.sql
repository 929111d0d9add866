-- name: add_source_type
-- lock: ACCESS EXCLUSIVE
-- A constant default is kept in the catalogue: no row is rewritten.
alter table {table} add column source_type text not null default {value};

-- name: add_proof
-- lock: ACCESS EXCLUSIVE
-- NOT VALID: no scan under the lock.
alter table {table} add constraint {constraint} check (source_type = {value}) not valid;

-- name: validate_proof
-- lock: SHARE UPDATE EXCLUSIVE
-- Scans the table while reads and writes go on; ATTACH PARTITION then believes it and scans nothing.
alter table {table} validate constraint {constraint};

-- name: drop_invalid_index
-- lock: SHARE UPDATE EXCLUSIVE
drop index concurrently if exists {index};

-- name: create_identity_index
-- lock: SHARE UPDATE EXCLUSIVE
-- (id, source_type) is unique over both partitions; ids alone are not.
create unique index concurrently if not exists {index} on {table} (id, source_type);

-- name: create_keyset_index
-- lock: SHARE UPDATE EXCLUSIVE
create index concurrently if not exists {index} on {table} (created_at desc, id desc);

-- name: create_parent
-- lock: ACCESS SHARE on content_items
-- lint: allow ban-drop-default because the parent is new: nobody writes through it yet
-- LIKE carries whatever column types this gallery has. The partition key gets no default, so a
-- writer must say which source it means.
create table if not exists content_items_all (like content_items including defaults) partition by list (source_type);
alter table content_items_all alter column source_type drop default;
-- Whatever a role may do with the tables, it may do with their parent.
select workbench.carry_rights('content_items_all');

-- name: create_parent_identity_index
-- lock: SHARE on content_items_all (not in use yet)
create unique index if not exists content_items_all_uidx_id_src on only content_items_all (id, source_type);

-- name: create_parent_keyset_index
-- lock: SHARE on content_items_all (not in use yet)
create index if not exists idx_content_items_all_created_id_desc
on only content_items_all (created_at desc, id desc);

-- name: share_ids
-- lock: ACCESS EXCLUSIVE
-- From here on one sequence feeds both sources, so new ids meet no old one of either.
-- Ids are read after the locks are held, so none can be given out in between. What the old sequences
-- gave counts as well as what is there: the id of a deleted item is not given out again.
create sequence if not exists content_items_all_id_seq owned by content_items_all.id;
alter table content_items_all alter column id set default nextval('content_items_all_id_seq');
alter table content_items alter column id set default nextval('content_items_all_id_seq');
alter table content_items_auto alter column id set default nextval('content_items_all_id_seq');
select setval('content_items_all_id_seq',
              (select max(id) from (select max(id) as id from content_items
                                    union all select max(id) from content_items_auto
                                    union all select last_value from content_items_id_seq
                                    union all select last_value from content_items_auto_id_seq) given));
-- Without a right on the new sequence, the application's next insert would fail.
select workbench.carry_rights('sequence content_items_all_id_seq', 'INSERT', 'usage');

-- name: ids_are_shared
select count(*) = 3 from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
where d.adrelid in (to_regclass('content_items'), to_regclass('content_items_auto'), to_regclass('content_items_all'))
  and a.attname = 'id' and pg_get_expr(d.adbin, d.adrelid) like '%%content_items_all_id_seq%%';

-- name: ids_are_parted
-- Whether neither table draws from the shared sequence, which then need not exist.
select count(*) = 0 from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
where d.adrelid in (to_regclass('content_items'), to_regclass('content_items_auto'))
  and a.attname = 'id' and pg_get_expr(d.adbin, d.adrelid) like '%%content_items_all_id_seq%%';

-- name: attach
-- lock: SHARE UPDATE EXCLUSIVE on the parent, ACCESS EXCLUSIVE on the table
-- The validated check proves every row; the indexes of the same shape are adopted, none is built.
alter table content_items_all attach partition {table} for values in ({value});

-- name: drop_proof
-- lock: ACCESS EXCLUSIVE
-- lint: allow ban-drop-constraint because the partition bound says the same from then on
-- The partition bound says the same from now on.
alter table {table} drop constraint if exists {constraint};

-- name: detach
-- lock: ACCESS EXCLUSIVE
-- lint: allow require-concurrent-partition-detach because killed half-way it would leave the partition pending, which no start takes up
alter table content_items_all detach partition {table};

-- name: part_ids
-- lock: ACCESS EXCLUSIVE
-- Both go on above every id given out so far, those of deleted items too.
alter table content_items alter column id set default nextval('content_items_id_seq');
alter table content_items_auto alter column id set default nextval('content_items_auto_id_seq');
select setval('content_items_id_seq', given), setval('content_items_auto_id_seq', given)
from (select greatest(s.last_value, i.last, a.last) as given from content_items_all_id_seq s,
      (select max(id) as last from content_items) i, (select max(id) as last from content_items_auto) a) ids;

-- name: drop_parent
-- lock: ACCESS EXCLUSIVE
drop table if exists content_items_all;

-- name: drop_index
-- lock: SHARE UPDATE EXCLUSIVE
drop index concurrently if exists {index};

-- name: drop_source_type
-- lock: ACCESS EXCLUSIVE
alter table {table} drop column source_type;

-- name: differing_columns
-- Columns that the two sources do not share by name, type and nullability.
select coalesce(a.attname, b.attname), a.kind, b.kind
from (select attname, format_type(atttypid, atttypmod) || case when attnotnull then ' not null' else '' end as kind
      from pg_attribute where attrelid = to_regclass('content_items') and attnum > 0 and not attisdropped) a
full join (select attname, format_type(atttypid, atttypmod) || case when attnotnull then ' not null' else '' end as kind
      from pg_attribute where attrelid = to_regclass('content_items_auto') and attnum > 0 and not attisdropped) b
    on a.attname = b.attname
where a.kind is distinct from b.kind and coalesce(a.attname, b.attname) <> 'source_type'
order by 1;

-- name: rows_moved
-- Rows of each partition seen through the parent and directly; equal unless something moved.
select (select count(*) from content_items_all where source_type = %(value)s), (select count(*) from {table});
