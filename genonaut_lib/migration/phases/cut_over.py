"""Cut over: from one instant on the junction is the truth, and the arrays are read-only.

Until then the application writes arrays and triggers carry them into the junction. One short
transaction turns that round, on both tables at once: writers in flight end before it, whoever
writes an array after it is refused. The undo gives the arrays back what the junction learnt: a
mirror carries live writes, a backfill the rest, and one short transaction turns it round again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import CannotUndo, GateClosed, VerificationFailed
from genonaut_lib.migration import backfill, junction_check, revisions
from genonaut_lib.migration.backfill import BackfillTask, forget_action
from genonaut_lib.migration.phases.base import Context, SchemaPhase, run_backfill
from genonaut_lib.migration.phases.drop_legacy_tags import is_empty
from genonaut_lib.migration.phases.truth import junction_is_truth, refusal
from genonaut_lib.migration.plan import Action, Check, Outcome, Plan, Probe, Verification, action, probe
from genonaut_lib.migration.verify import SAMPLES, compare
from genonaut_lib.vocabulary import ContentSource

FILE = "cut_over"
ON_CONTENT = ("refuse_tags_on_insert", "refuse_tags_on_update", "refuse_source_change")
GATE = revisions.Gate("verify_content_tags", "22_verify_content_tags", junction_check.TASKS)
UNDO = BackfillTask("cut_over_undo", block(FILE, "rebuild_batch"))
CARRIED = Probe(block(FILE, "arrays_are_carried"), {})
FUNCTIONS = {
    "create_refusal_function": "refuse_tags_write",
    "create_move_refusal_function": "refuse_source_change",
    "create_release_function": "release_content_tags",
    "create_content_check_function": "require_tagged_content",
    "create_rebuild_function": "rebuild_tags",
}
TRIGGERS = {
    **{source.table: ("sync_content_tags", "empty_content_tags", *ON_CONTENT) for source in ContentSource},
    "content_tags": ("require_content_on_insert", "require_content_on_update"),
}
MIRROR = probe("has_trigger", "content_tags", trigger="mirror_on_insert")
NO_MIRROR = probe("has_function_named", "mirror_content_tags", wanted=False)
"""Its function comes before its triggers and goes after them."""
NO_FUNCTIONS = Probe(block(FILE, "has_no_functions"), {})


@dataclass(frozen=True)
class CutOver(SchemaPhase):
    """Phase 70; see the module."""

    name: str = "cut_over"
    title: str = "Cut over: the junction is the truth, the arrays are read-only"
    notebook: str = "70_cut_over"
    revision: str = revisions.CUT_OVER
    before: str = revisions.CREATE_GALLERY_STATS

    def check(self, context: Context) -> list[Check]:
        """Besides the revision: a verified junction, and triggers that carry the arrays until the switch."""
        checks, connection = super().check(context), context.connection
        if junction_is_truth(connection):
            return [*checks, Check("truth", True, "the junction, since the cut over")]
        if revisions.at_least(connection, self.revision):
            finding = "an undo was killed after its switch; run `genonaut undo cut_over` to its end"
            return [*checks, Check("truth", False, finding)]
        closed = None if is_empty(connection) else GATE.closed_because(connection)
        finding = f"it {closed}; run {GATE.notebook}" if closed else "passed"
        checks.append(Check("junction verified", not closed, finding))
        carried = CARRIED.holds(connection)
        finding = "in place on both tables" if carried else "missing or disabled; the junction may have fallen behind"
        return [*checks, Check("triggers sync_content_tags", carried, finding)]

    def actions(self) -> list[Action]:
        """The functions first, then everything that counts in one transaction."""
        steps = [
            action(f"create:{function}", block(FILE, name), done=probe("has_function_named", function))
            for name, function in FUNCTIONS.items()
        ]
        return [*steps, _switch(), _drop_mirror()]

    def undo_actions(self) -> list[Action]:
        """Turn round again, in one transaction; then drop the functions. The arrays must be rebuilt by then."""
        functions = action("drop:functions", block(FILE, "drop_functions"), done=NO_FUNCTIONS)
        return [_switch_back(), forget_action(UNDO.name), functions]

    def plan(self, context: Context) -> Plan:
        """Besides the actions: an undo that was begun and given up leaves its mirror, which goes first."""
        found = super().plan(context)
        if revisions.at_least(context.connection, self.revision) and not NO_MIRROR.holds(context.connection):
            return replace(found, actions=(_drop_mirror(),), note="")
        return found

    def apply(self, context: Context) -> Outcome:
        """Upgrade to this phase's revision; the mirror of an undo that was given up goes."""
        outcome = super().apply(context)
        revisions.run_actions(context.connection, [_drop_mirror()], context.settings.database)
        return outcome

    def verify(self, context: Context) -> Verification:
        """Every trigger is in place and enabled, and every junction row belongs to an item."""
        catalogue, missing = super().verify(context), _missing_triggers(context.connection)
        orphans = _orphans(context)
        samples = (*catalogue.samples, *missing, *orphans)
        figures = {"triggers missing": len(missing), "orphans": len(orphans)}
        return Verification(self.name, catalogue.examined + len(ContentSource), len(samples), figures, samples)

    def require_undoable(self, context: Context) -> None:
        """Raise CannotUndo while a later phase is applied; a switch killed before its revision was written can go."""
        if not _killed_before_stamp(context.connection):
            super().require_undoable(context)

    def undo(self, context: Context) -> Outcome:
        """Rebuild the arrays from the junction, then give them back; what was written meanwhile goes with it."""
        self.require_undoable(context)
        rebuilt = rebuild_arrays(context) if junction_is_truth(context.connection) else 0
        taken_back = super().undo(context)
        return Outcome(self.name, {"arrays rebuilt": rebuilt, **taken_back.figures})


def rebuild_arrays(context: Context) -> int:
    """Make both array columns what the junction says, and keep them so; return how many arrays changed.

    A killed start left the mirror and the checkpoints, and the next one goes on with both. Raises
    VerificationFailed, with the junction still the truth, when an array differs at the end.
    """
    connection, database = context.connection, context.settings.database
    if not MIRROR.holds(connection):
        # Checkpoints from an earlier undo stand for arrays that were frozen again since.
        backfill.forget(connection, UNDO.name)
    revisions.run_actions(connection, mirror_actions(), database)
    rebuilt = run_backfill(context, UNDO).rows_changed
    found = compare(context.settings, replace(junction_check.comparison("cut_over_undo"), tasks=(UNDO.name,)))
    if found.mismatches:
        first = "; ".join(str(key) for key in found.mismatches[:SAMPLES])
        raise VerificationFailed(
            f"{len(found.mismatches)} pairs of array and junction differ: {first}.",
            hint="The junction is still the truth. Run the same command again once the cause is found.",
        )
    return rebuilt


def mirror_actions() -> list[Action]:
    """Return the actions that let the arrays follow the junction."""
    triggers = block(FILE, "create_mirror_triggers")
    return [
        action("create:mirror_function", block(FILE, "create_mirror_function")),
        action("create:mirror_triggers", triggers, done=MIRROR),
    ]


def gate(connection: Connection, _confirm: str) -> None:
    """Raise GateClosed for a database with content whose junction was not verified, or is not kept true."""
    if junction_is_truth(connection) or is_empty(connection):
        return
    revisions.require_verified(connection, GATE)
    if not CARRIED.holds(connection):
        raise GateClosed(
            "The triggers sync_content_tags are missing or disabled, so the junction may have fallen behind.",
            hint=f"Enable them on both content tables, then run `genonaut run {GATE.notebook}` again.",
        )


def require_rebuilt(connection: Connection) -> None:
    """Raise CannotUndo while the junction knows what the arrays do not, as under plain `alembic downgrade`."""
    if is_empty(connection) or not junction_is_truth(connection):
        return
    if not (MIRROR.holds(connection) and backfill.status(connection, UNDO.name).complete):
        raise CannotUndo("The arrays were not rebuilt from the junction.", hint="Run `genonaut undo cut_over`.")


def _killed_before_stamp(connection: Connection) -> bool:
    return revisions.current(connection) == revisions.CREATE_GALLERY_STATS and junction_is_truth(connection)


def _switch() -> Action:
    pieces = [block(FILE, "lock_tables").sql()]
    pieces += [_of_table("switch_table", source) for source in ContentSource]
    pieces.append(block(FILE, "open_junction").sql())
    why = "One transaction: before it the arrays are the truth, after it the junction. No write is lost in between"
    return Action("switch", sql.SQL(";\n").join(pieces), block(FILE, "lock_tables").lock, why, done=(refusal(),))


def _switch_back() -> Action:
    pieces = [block(FILE, "lock_tables_back").sql()]
    pieces += [_of_table("release_table", source) for source in ContentSource]
    pieces += [
        block("create_content_tags", "create_sync_trigger").sql(table=source.table, source=sql.Literal(source.junction))
        for source in ContentSource
    ]
    pieces.append(block(FILE, "close_junction").sql())
    lock = block(FILE, "lock_tables_back").lock
    why = "One transaction: the arrays become writable, and the triggers carry them into the junction again"
    return Action("switch_back", sql.SQL(";\n").join(pieces), lock, why, done=(refusal(wanted=False),))


def _drop_mirror() -> Action:
    return action("drop:mirror", block(FILE, "drop_mirror"), done=NO_MIRROR)


def _of_table(name: str, source: ContentSource) -> sql.Composed:
    return block(FILE, name).sql(table=source.table, source=sql.Literal(source.junction))


def _missing_triggers(connection: Connection) -> list[str]:
    wanted = [(table, trigger) for table, triggers in TRIGGERS.items() for trigger in triggers]
    found = [probe("has_enabled_trigger", table, trigger=trigger).holds(connection) for table, trigger in wanted]
    missing = [f"{trigger} on {table}" for (table, trigger), there in zip(wanted, found, strict=True) if not there]
    return [*missing, *(["sync_content_tags still follows the arrays"] if CARRIED.holds(connection) else [])]


def _orphans(context: Context) -> list[str]:
    """Return the first junction rows whose item is gone."""
    found = []
    for source in ContentSource:
        statement = block(FILE, "orphans").sql(table=source.table)
        rows = context.connection.execute(statement, {"source": source.junction, "limit": SAMPLES}).fetchall()
        found += [f"{source.junction} {item} {tag} orphan" for item, tag in rows]
    return found
