-- name: policies
select kind, decision from workbench.tag_policies where phase = %(phase)s order by kind;

-- name: decide
insert into workbench.tag_policies (kind, decision, phase) values (%(kind)s, %(decision)s, %(phase)s)
on conflict (kind) do update set decision = excluded.decision, phase = excluded.phase, decided_at = now();

-- name: forget_policies
-- lock: ROW EXCLUSIVE on the ledger
-- What was decided goes with what was done by it.
delete from workbench.tag_policies where phase = {phase};

-- name: summary
select kind, decision, spellings, counted, elements, items from workbench.tag_decisions order by kind, decision;

-- name: quarantined
-- Elements in quarantine with their place, in id order; a null reason stands for all.
select content_source, content_id, position, reason, element
from workbench.unmapped_tags where %(reason)s::text is null or reason = %(reason)s
order by content_source, content_id, position limit %(limit)s;

-- name: reasons
select distinct reason from workbench.unmapped_tags order by reason;
