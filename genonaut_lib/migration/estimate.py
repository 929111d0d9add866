"""What a plan will cost: rows, WAL, seconds and disk of each action, from the catalogue and measured rates.

Which formula an action gets is decided by the first rule whose pattern its phase, id and statement match;
a new kind of action is one line in RULES. What cannot be known beforehand is None, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from genonaut_lib.db.engine import Connection
from genonaut_lib.migration import estimate_model as model
from genonaut_lib.migration.estimate_figures import JUNCTION, SECONDS_A_ROW, SOURCES, Figures
from genonaut_lib.migration.estimate_model import PAGE, Column
from genonaut_lib.migration.plan import Action, Plan
from genonaut_lib.migration.tables import scaled, size_of

UNKNOWN_COLUMN = Column(6)
"""A short word, as `source_type` will hold; the column comes earlier in the same plan."""


@dataclass(frozen=True)
class Estimate:
    """What an action is expected to read or write (rows), log, take, and leave on disk; None is unknown.

    `disk_bytes` stays when it is done (negative where something goes), `scratch_bytes` only while it
    runs. `exact` says whether the rows were counted.
    """

    rows: int | None = 0
    wal_bytes: int | None = 0
    seconds: float | None = 0.0
    disk_bytes: int | None = 0
    scratch_bytes: int = 0
    exact: bool = True


@dataclass(frozen=True)
class PlanEstimate:
    """The estimates of a plan's actions, in their order, and what the server will keep of the WAL."""

    actions: tuple[Estimate, ...]
    wal_kept_bytes: int

    @property
    def total(self) -> Estimate:
        """The sum; unknown parts are left out, so read it as "at least" when `complete` is False."""
        rows = [step.rows or 0 for step in self.actions]
        return Estimate(
            sum(rows),
            sum(step.wal_bytes or 0 for step in self.actions),
            sum(step.seconds or 0.0 for step in self.actions),
            sum(step.disk_bytes or 0 for step in self.actions),
            max((step.scratch_bytes for step in self.actions), default=0),
            all(step.exact for step in self.actions),
        )

    @property
    def complete(self) -> bool:
        """Whether nothing is unknown."""
        return not any(None in (step.rows, step.wal_bytes, step.seconds, step.disk_bytes) for step in self.actions)

    @property
    def disk_needed(self) -> int:
        """Bytes that must be free: the highest point on the way, and the WAL kept until a checkpoint."""
        level = peak = 0
        for step in self.actions:
            peak = max(peak, level + step.scratch_bytes + max(0, step.disk_bytes or 0))
            level += step.disk_bytes or 0
        return peak + min(self.total.wal_bytes or 0, self.wal_kept_bytes)


def estimate_plan(connection: Connection, plan: Plan) -> PlanEstimate:
    """Return what each action of `plan` is expected to cost; reads the catalogue and some pages, writes nothing."""
    figures = Figures(connection, plan)
    kept = figures.server.wal_kept
    return PlanEstimate(tuple(estimator_of(plan, step)(figures, step) for step in plan.actions), kept)


def estimator_of(plan: Plan, step: Action) -> Estimator:
    """Return the formula of an action: that of the first rule its phase, id and statement match."""
    subject = f"{plan.phase}/{step.id} {step.text}"
    return next(estimator for pattern, estimator in RULES if re.match(pattern, subject, re.DOTALL))


def _catalogue_only(figures: Figures, _step: Action) -> Estimate:
    return Estimate(wal_bytes=_ddl_wal(figures), seconds=model.DDL_S)


def _ddl_wal(figures: Figures) -> int:
    return model.DDL_RECORD + (model.DDL_IMAGES if figures.server.page_images else 0)


def _drop_index(figures: Figures, step: Action) -> Estimate:
    size = size_of(figures.connection, step.id.rsplit(":", 1)[-1]).total_bytes
    return Estimate(0, _ddl_wal(figures), model.DDL_S, -size)


def _scan(figures: Figures, step: Action) -> Estimate:
    """VALIDATE reads every row and writes nothing but the catalogue."""
    table = _table_in(step)
    count = figures.rows(table)
    seconds = model.DDL_S + figures.pages(table) * PAGE / model.SCAN_BYTES_S
    return Estimate(count.rows, _ddl_wal(figures), seconds, exact=count.exact)


def _build_index(figures: Figures, step: Action) -> Estimate:
    table = _table_in(step)
    count = figures.rows(table)
    if " using gin " in step.text:
        return Estimate(count.rows, None, None, None, exact=count.exact)
    known = figures.columns(table)
    size = model.index_bytes(count.rows, [known.get(name, UNKNOWN_COLUMN) for name in _columns_in(step)])
    wal = _ddl_wal(figures) + round(size * (model.INDEX_COMPRESSED if figures.server.images_compressed else 1.0))
    seconds = model.DDL_S + model.sort_seconds(count.rows) * figures.pace()
    return Estimate(count.rows, wal, seconds, size, size if size > figures.server.sort_memory else 0, count.exact)


def _observe(figures: Figures, step: Action) -> Estimate:
    """Counting spellings: how many distinct ones there are is what it finds out."""
    sample = figures.samples[step.id.rsplit(":", 1)[-1]]
    count = scaled(sample)
    seconds = count.rows * SECONDS_A_ROW["observe_spellings"](sample.elements) * figures.pace("observe_spellings")
    return Estimate(count.rows, None, seconds, None, exact=count.exact)


def _unknown(_figures: Figures, _step: Action) -> Estimate:
    return Estimate(None, None, None, None)


def _fill_uuids(figures: Figures, step: Action) -> Estimate:
    """Every waiting row is written anew, wider, and entered into every index that stays."""
    table = _target(step)
    sample, count = figures.samples[table], scaled(figures.samples[table])
    rows = round(count.rows * sample.waiting)
    share = figures.compressed_share(SOURCES[table])
    width, out = model.filled_row(sample.row_width, sample.names_width, sample.elements, share)
    indexes = figures.kept_indexes(table)
    grown = sum(size for _, _, size in indexes) * sample.waiting
    gin = sum(model.GIN_RECORD * sample.elements for _, method, _ in indexes if method == "gin")
    record = width + out + model.HEAP_RECORD + len(indexes) * model.LEGACY_INDEX_RECORD + gin
    wal = rows * record + figures.images((figures.pages(table) + grown / PAGE) * sample.waiting)
    seconds = rows * SECONDS_A_ROW["backfill_tag_uuids"](sample.elements) * figures.pace("backfill_tag_uuids")
    disk = model.heap_bytes(rows, width) + rows * out + grown
    return Estimate(rows, round(wal), seconds, round(disk), exact=count.exact)


def _fill_junction(figures: Figures, step: Action) -> Estimate:
    """Every array element becomes a row and an entry in each index that is there meanwhile."""
    table = _target(step)
    task = "load_content_tags" if step.id.startswith("load:") else "backfill_content_tags"
    sample, items = figures.samples[table], figures.items_left(task, SOURCES[table])
    rows = round(items.rows * sample.elements)
    columns = model.JUNCTION_COLUMNS.values()
    indexes = [name for name, _, _ in figures.kept_indexes(JUNCTION)]
    fills = [model.BUILT_FILL if name.endswith("_pkey") else model.SPLIT_FILL for name in indexes]
    width = model.heap_row(columns)
    disk = model.heap_bytes(rows, width) + sum(model.index_bytes(rows, columns, fill) for fill in fills)
    read = figures.pages(table) * items.rows / max(scaled(sample).rows, 1)
    record = width - 24 + model.HEAP_RECORD + len(indexes) * model.INDEX_RECORD
    wal = rows * record + items.rows * model.ROW_LOCK_RECORD + figures.images(read)
    seconds = rows * model.LINK_S * (1 + len(indexes)) / 3 * figures.pace(task)
    return Estimate(rows, round(wal), seconds, disk if rows else 0, exact=items.exact)


def _vacuum(figures: Figures, step: Action) -> Estimate:
    """Reads what the batches wrote; only where a checkpoint came in between are pages imaged again."""
    table = _table_in(step)
    count = figures.rows(table)
    rewritten = table in SOURCES and any(one.id == f"backfill:{table}" for one in figures.plan.actions)
    pages = figures.pages(table) * (2 if rewritten else 1)
    images = figures.images(pages) if pages * PAGE > figures.server.wal_kept / 2 else 0
    wal = count.rows * model.VACUUMED_ROW * rewritten + pages * model.VACUUMED_PAGE + images
    seconds = model.DDL_S + pages * PAGE / model.VACUUM_BYTES_S * figures.pace()
    return Estimate(count.rows, wal, seconds, 0, exact=count.exact)


_TABLE = re.compile(r'(?:^vacuum (?:\([^)]*\) )?|^analyze |\bon |^alter table )"?(\w+)"?', re.IGNORECASE)
_COLUMNS = re.compile(r"\(([^()]*)\)\s*$")


def _target(step: Action) -> str:
    """Return the content table a backfill's action names in its id."""
    return step.id.split(":")[1]


def _table_in(step: Action) -> str:
    found = _TABLE.search(step.text)
    assert found is not None, step.text
    return found[1]


def _columns_in(step: Action) -> list[str]:
    found = _COLUMNS.search(step.text)
    return [part.split()[0].strip('"') for part in found[1].split(",")] if found else []


Estimator = Callable[[Figures, Action], Estimate]
RULES: tuple[tuple[str, Estimator], ...] = (
    (r"backfill_tag_uuids/backfill:", _fill_uuids),
    (r"backfill_content_tags/(backfill|load):", _fill_junction),
    (r"seed_tags/data:observe_spellings:", _observe),
    (r"seed_tags/data:", _unknown),
    (r"(create_content_tags|seed_tags)/", _catalogue_only),
    (r"\S+ create (unique )?index .*\bon only ", _catalogue_only),
    (r"\S+ (set local [^;]*;\s*)*create (unique )?index ", _build_index),
    (r"\S+ alter table \S+ add .*primary key \(", _build_index),
    (r"\S+ alter table \S+ validate constraint ", _scan),
    (r"\S+ drop index ", _drop_index),
    (r"\S+ (vacuum|analyze) ", _vacuum),
    (r"", _catalogue_only),
)
"""First match counts; the subject is `phase/id statement`."""
