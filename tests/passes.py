"""Which tests CI's second pass leaves out, on the servers of the distribution, and which files begin first."""

from __future__ import annotations

SERVERS_OF_THEIR_OWN = (
    "tests/gallery/test_marked_servers.py",
    "tests/integration/test_embedded.py",
    "tests/integration/test_estimates.py::test_wal_and_disk_come_out_as_estimated",
    "tests/integration/test_pressure_replicas.py",
    "tests/integration/test_run_faults.py::test_a_database_that_goes_away_is_told_by_the_record",
    "tests/service/test_faults.py",
)
"""The beginnings of the ids of tests that start embedded servers, whatever DATABASE_URL says: both passes would do the
same."""

LONGEST = (
    "tests/acceptance/test_demo_survives_kills.py",
    "tests/acceptance/test_chaos.py",
    "tests/migration/test_harness.py",
    "tests/mutants/test_mutants.py",
    "tests/notebooks/test_notebooks.py",
    "tests/gallery/test_bitmap_reader.py",
    "tests/gallery/test_bitmap_machine.py",
    "tests/integration/test_scheduler.py",
    "tests/integration/test_dry_run.py",
    "tests/integration/test_run_faults.py",
    "tests/migration/test_cut_over.py",
    "tests/gallery/test_bitmap_moments.py",
    "tests/gallery/test_conformance.py",
    "tests/integration/test_pressure_replicas.py",
    "tests/migration/test_dirty_data.py",
    "tests/service/test_shutdown.py",
    "tests/service/test_faults.py",
    "tests/integration/test_runs.py",
    "tests/migration/test_bitmap_seal.py",
    "tests/integration/test_estimates.py",
    "tests/migration/test_phases.py",
)
"""Files that take longest, the longest first: one that began last would keep a single core busy in the end."""


def asked_of_another_server(node_id: str) -> bool:
    """Say whether a test is one of the second pass."""
    return not node_id.startswith(SERVERS_OF_THEIR_OWN)


def place_of(node_id: str) -> int:
    """Return the place of a test's file in the order in which files are best begun."""
    file = node_id.partition("::")[0]
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)
