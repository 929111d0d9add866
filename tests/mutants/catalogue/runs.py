"""Mutants of notebooks and of what runs and records them."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

SESSION = "genonaut_lib/runs/session.py"
REDACTED = "genonaut_lib/runs/secrets/redacted.py"
SPELLINGS = "genonaut_lib/runs/secrets/spellings.py"
GUARD = "tests/notebooks/guard.py"
GUARD_TESTS = "tests/notebooks/test_guard.py"
HYGIENE = "tests/unit/test_notebook_hygiene.py"
ROOMS = f"{HYGIENE}::test_a_phase_notebook_has_every_room_in_order"
DRY_RUN = "tests/integration/test_dry_run.py::test_a_dry_run_of_a_notebook_leaves_its_run_and_nothing_else"
REDACTION = "tests/unit/test_redaction.py"
LONE = "tests/mutants/lone_notebook.py::test_a_notebook_alone_gives_its_reference_outputs"

NOTEBOOK_MUTANTS = (
    Mutant(
        "a notebook without its verify cell",
        "notebooks/21_backfill_content_tags.ipynb",
        "",
        '"run.verify()"',
        '"run"',
        (f"{ROOMS}[21_backfill_content_tags]",),
    ),
    Mutant(
        "a notebook that applies before it plans",
        "notebooks/30_attach_partitions.ipynb",
        "",
        '"run.preflight()"',
        '"run.apply()"',
        (f"{ROOMS}[30_attach_partitions]",),
    ),
    Mutant(
        "a notebook that writes unless told not to",
        "notebooks/12_backfill_tag_uuids.ipynb",
        "",
        "dry_run: bool = True",
        "dry_run: bool = False",
        (f"{HYGIENE}::test_parameters_are_typed_literals_that_write_nothing_by_default",),
    ),
    Mutant(
        "a notebook that passes its dry run on to nobody",
        "notebooks/30_attach_partitions.ipynb",
        "",
        "dry_run=dry_run",
        "dry_run=False",
        (f"{DRY_RUN}[attach_partitions-half]",),
    ),
    Mutant(
        "a notebook that opens another's phase",
        "notebooks/22_verify_content_tags.ipynb",
        "",
        'open_run(\\"22_verify_content_tags\\"',
        'open_run(\\"21_backfill_content_tags\\"',
        (f"{ROOMS}[22_verify_content_tags]",),
    ),
    Mutant(
        "a cell with a magic that nobody knows",
        "tests/notebooks/reference/01_00_preflight.ipynb",
        "",
        '"run.tables()"',
        '"%no_such_magic\\n",\n    "run.tables()"',
        (f"{LONE}[01_00_preflight]",),
    ),
    Mutant(
        "a cell of the reference that is skipped",
        "tests/notebooks/reference/01_00_preflight.ipynb",
        "",
        '"run.tables()"',
        '"# NBVAL_SKIP\\n",\n    "run.tables()"',
        (f"{LONE}[01_00_preflight]",),
    ),
)

RUN_MUTANTS = (
    Mutant(
        "a dry run applies",
        SESSION,
        "",
        '        if self.dry_run:\n            return View("Dry run: nothing was applied"',
        '        if self.shown is None:\n            return View("Dry run: nothing was applied"',
        (f"{LONE}[04_11_expand_tag_columns]",),
    ),
    Mutant(
        "a dry run writes its finding into the ledger",
        SESSION,
        "",
        '        if self.dry_run:\n            return View("Dry run: nothing was compared"',
        '        if self.shown is None:\n            return View("Dry run: nothing was compared"',
        (f"{DRY_RUN}[attach_partitions-half]",),
    ),
    Mutant(
        "a failed verification lets the notebook go on",
        SESSION,
        "",
        "        if not self.verification.passed:",
        "        if self.verification is None:",
        ("tests/integration/test_runs.py::test_a_failed_verification_ends_the_notebook",),
    ),
    Mutant(
        "a plan that has grown is applied unseen",
        "genonaut_lib/migration/runner.py",
        "",
        "    if added:\n",
        "    if added and shown is None:\n",
        ("tests/migration/test_phases.py::test_a_plan_with_new_statements_is_not_applied_unseen",),
    ),
    Mutant(
        "a refusal says the secret",
        REDACTED,
        "",
        "error.message = redactor.text(error.message)",
        "error.message = str(error.message)",
        (f"{REDACTION}::test_a_refusal_leaves_without_the_secret",),
    ),
    Mutant(
        "an exception in the log says the secret",
        REDACTED,
        "",
        "record.exc_text = redactor.text(logging.Formatter().formatException(record.exc_info))",
        "record.exc_text = logging.Formatter().formatException(record.exc_info)",
        (f"{REDACTION}::test_log_lines_and_their_exceptions_hold_no_secret",),
    ),
    Mutant(
        "a secret between line breaks is not found",
        SPELLINGS,
        "",
        "for one in chain(found, map(squeezed, escaped))",
        "for one in found",
        (REDACTION,),
    ),
    Mutant(
        "a secret in UTF-16 is not found",
        SPELLINGS,
        "",
        'return [] if text is None else [text.encode(kind, "surrogatepass") for kind',
        'return [] if text is None or secret else [text.encode(kind, "surrogatepass") for kind',
        (REDACTION,),
    ),
    Mutant(
        "a secret in base64 within base64 is not found",
        SPELLINGS,
        "",
        "        found.update(_base64(inner))\n",
        "        found.add(inner)\n",
        (REDACTION,),
    ),
)

GUARD_MUTANTS = (
    Mutant(
        "an error that was only printed passes",
        GUARD,
        "",
        'if kernel.reply.get("status") != "ok" and not self.options["check_exception"]:',
        'if kernel.reply.get("status") is None:',
        (f"{GUARD_TESTS}::test_an_unknown_magic_fails",),
    ),
    Mutant(
        "a warning in a cell that is not compared passes",
        GUARD,
        "",
        "        if said and not _stderr(self.cell.outputs):",
        '        if said and self.options["check"]:',
        (f"{GUARD_TESTS}::test_a_warning_fails_where_the_reference_has_none",),
    ),
    Mutant(
        "a notebook without outputs passes",
        GUARD,
        "",
        "        if not any(cell.shown() for cell in cells):",
        "        if not cells and self.nb is None:",
        (f"{GUARD_TESTS}::test_a_notebook_of_which_nothing_is_compared_fails",),
    ),
    Mutant(
        "cells behind a failure are run on what is not there",
        GUARD,
        "",
        "        if self.parent.halted:\n",
        "        if self.parent.halted is None:\n",
        (f"{GUARD_TESTS}::test_what_stands_behind_a_failure_is_named",),
    ),
)
