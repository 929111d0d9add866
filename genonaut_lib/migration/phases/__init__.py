"""The phases of the migration, in the order they run; one file each."""

from __future__ import annotations

from genonaut_lib.migration.phases.attach_partitions import AttachPartitions
from genonaut_lib.migration.phases.backfill_content_tags import BackfillContentTags
from genonaut_lib.migration.phases.backfill_tag_uuids import BackfillTagUuids
from genonaut_lib.migration.phases.base import Context, Phase, SchemaPhase
from genonaut_lib.migration.phases.create_content_tags import CreateContentTags
from genonaut_lib.migration.phases.create_gallery_stats import CreateGalleryStats
from genonaut_lib.migration.phases.create_sidecars import CreateSidecars
from genonaut_lib.migration.phases.create_tag_bitmaps import CreateTagBitmaps
from genonaut_lib.migration.phases.cut_over import CutOver
from genonaut_lib.migration.phases.drop_legacy_tags import DropLegacyTags
from genonaut_lib.migration.phases.expand_tag_columns import ExpandTagColumns
from genonaut_lib.migration.phases.roll_back import RollBack
from genonaut_lib.migration.phases.seed_tags import SeedTags
from genonaut_lib.migration.phases.verify_content_tags import VerifyContentTags

_IN_ORDER: tuple[Phase, ...] = (
    SeedTags(),
    ExpandTagColumns(),
    BackfillTagUuids(),
    DropLegacyTags(),
    CreateContentTags(),
    BackfillContentTags(),
    VerifyContentTags(),
    AttachPartitions(),
    CreateSidecars(),
    CreateTagBitmaps(),
    CreateGalleryStats(),
    CutOver(),
)

PHASES: dict[str, Phase] = {phase.name: phase for phase in _IN_ORDER}
BY_NOTEBOOK: dict[str, Phase] = {phase.notebook: phase for phase in (*_IN_ORDER, RollBack(_IN_ORDER))}

__all__ = ["BY_NOTEBOOK", "PHASES", "Context", "Phase", "SchemaPhase", "notebooks_after"]


def notebooks_after(revision: str) -> list[str]:
    """Return the notebooks that lead from `revision` to the next one, in order; none at head.

    Data phases have no revision, so those between two revisions are named whether they ran or not.
    """
    applied = [phase for phase in _IN_ORDER if isinstance(phase, SchemaPhase) and phase.revision <= revision]
    names: list[str] = []
    for phase in _IN_ORDER[_IN_ORDER.index(applied[-1]) + 1 if applied else 0 :]:
        names.append(phase.notebook)
        if isinstance(phase, SchemaPhase):
            return names
    return []
