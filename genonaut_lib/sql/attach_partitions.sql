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

-- name: missing_proofs
-- What ATTACH PARTITION would scan the table or build an index for, under its lock. The two ways to
-- write the check are our own and the one DETACH PARTITION CONCURRENTLY leaves behind.
select format('a validated CHECK (source_type = %%L) on %%s', %(value)s::text, %(relation)s::text)
where not exists (
    select from pg_constraint
    where conrelid = to_regclass(%(relation)s) and contype = 'c' and convalidated
      and pg_get_constraintdef(oid) in (
          format('CHECK ((source_type = %%L::text))', %(value)s::text),
          format('CHECK (((source_type IS NOT NULL) AND (source_type = %%L::text)))', %(value)s::text)))
union all
select format('NOT NULL on %%s.source_type', %(relation)s::text)
where not exists (
    select from pg_attribute
    where attrelid = to_regclass(%(relation)s) and attname = 'source_type' and attnotnull)
union all
select format('a valid index on %%s like %%s', %(relation)s::text, p.indexrelid::regclass)
from pg_index p
where p.indrelid = to_regclass(%(parent)s)
  and not exists (
    select from pg_index c
    where c.indrelid = to_regclass(%(relation)s) and c.indisvalid and c.indisready and c.indislive
      and c.indisunique = p.indisunique and c.indnkeyatts = p.indnkeyatts and c.indclass = p.indclass
      and c.indcollation = p.indcollation and c.indoption = p.indoption
      and c.indpred is null and p.indpred is null and c.indexprs is null and p.indexprs is null
      and not exists (select from pg_inherits where inhrelid = c.indexrelid)
      and (select relam from pg_class where oid = c.indexrelid) = (select relam from pg_class where oid = p.indexrelid)
      and (select array_agg(a.attname order by k.place) from unnest(c.indkey) with ordinality k (number, place)
           join pg_attribute a on a.attrelid = c.indrelid and a.attnum = k.number)
        = (select array_agg(a.attname order by k.place) from unnest(p.indkey) with ordinality k (number, place)
           join pg_attribute a on a.attrelid = p.indrelid and a.attnum = k.number));

-- name: detach
-- lock: SHARE UPDATE EXCLUSIVE, then for an instant ACCESS EXCLUSIVE on the table
-- First the parent forgets the partition; then the statement waits, without a lock that anybody would
-- wait behind, for the transactions that may still see it. Killed in between, it leaves the rest to FINALIZE.
alter table content_items_all detach partition {table} concurrently;

-- name: finalize_detach
-- lock: ACCESS EXCLUSIVE on the table
-- Waits for older snapshots while it holds its lock, so it must give up twice as soon.
alter table content_items_all detach partition {table} finalize;

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
