"""All mutants, by what they break."""

from __future__ import annotations

from tests.mutants.catalogue import backfill, bitmaps, gallery, junction, runs, verification
from tests.mutants.mutant import Mutant

GROUPS: dict[str, tuple[Mutant, ...]] = {
    "backfill": backfill.MUTANTS,
    "junction": junction.MUTANTS,
    "verification": verification.MUTANTS,
    "partitions": verification.PARTITION_MUTANTS,
    "bitmaps": bitmaps.MUTANTS,
    "gallery": gallery.MUTANTS,
    "notebooks": runs.NOTEBOOK_MUTANTS,
    "runs": runs.RUN_MUTANTS,
    "guard": runs.GUARD_MUTANTS,
}
BY_NAME = {mutant.name: mutant for mutants in GROUPS.values() for mutant in mutants}
