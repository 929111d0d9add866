"""Which tests CI's second pass leaves out, on the servers of the distribution, and which files begin first."""

from __future__ import annotations

SAME_ON_EVERY_SERVER = {
    # These start embedded servers of their own, whatever DATABASE_URL says.
    "tests/gallery/test_marked_servers.py": "servers of its own",
    "tests/integration/test_embedded.py": "servers of its own",
    "tests/integration/test_pressure_replicas.py": "servers of its own",
    "tests/integration/test_run_faults.py::test_a_database_that_goes_away_is_told_by_the_record": "a server of its own",
    "tests/service/test_faults.py": "a server of its own",
    # Notebooks, their kernels, records and files; the ledger's statements are prepared by test_sql_blocks.py.
    "tests/integration/test_chain.py": "signatures and files",
    "tests/integration/test_dry_run.py::test_a_dry_run_of_a_notebook": "kernels; other tests of the file plan there",
    "tests/integration/test_redaction.py": "records, and no server that checks passwords",
    "tests/integration/test_run_again.py": "records and kernels",
    "tests/integration/test_run_faults.py": "signals, kernels and files",
    "tests/integration/test_runs.py": "records and kernels",
    "tests/integration/test_scheduler.py": "processes and clocks",
    "tests/notebooks/test_notebooks.py::test_a_lost_where": "what is looked for is in the notebooks",
    "tests/notebooks/test_notebooks.py::test_no_reference": "files",
    "tests/notebooks/test_notebooks.py::test_the_reference_is_of_the_notebook": "files",
    # HTTP, processes and logs of the service.
    "tests/integration/test_http_bench.py": "a client that measures a service",
    "tests/service/test_auth.py": "tokens",
    "tests/service/test_fuzz.py": "HTTP as it should not be",
    "tests/service/test_logs.py": "logs",
    "tests/service/test_metrics.py": "processes and their files",
    "tests/service/test_openapi.py": "HTTP against its document",
    "tests/service/test_readme.py": "what the README says",
    "tests/service/test_shutdown.py": "processes and signals",
}
"""The beginnings of the ids of tests that another PostgreSQL or Redis cannot make differ, and why."""

LONGEST = (
    "tests/acceptance/test_demo_survives_kills.py",
    "tests/acceptance/test_chaos.py",
    "tests/migration/test_harness.py",
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
    return not node_id.startswith(tuple(SAME_ON_EVERY_SERVER))


def place_of(node_id: str) -> int:
    """Return the place of a test's file in the order in which files are best begun."""
    file = node_id.partition("::")[0]
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)
