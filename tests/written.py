"""Records written to order for those who read them: executed notebooks with sound manifests beside them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from genonaut_lib.runs.records import links, manifest
from genonaut_lib.runs.records.links import NOTHING, RUN, Entry, Folder, Standing
from genonaut_lib.runs.records.manifest import Manifest

FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)
VERIFIED = "Verification passed\n1,500 examined, 0 mismatches.\n       figure  value\nrelationships 63,548"
APPLIED = "Applied\n       figure value\n   items read 1,500\nitems changed 1,204"


def notebook(
    texts: tuple[str, ...] = (), parameters: Mapping[str, Any] | None = None, **said: Any
) -> dict[str, Any]:  # fmt: skip
    """Return an executed notebook whose one cell showed `texts`; `said` is what it says of its run."""
    shown = [{"output_type": "display_data", "metadata": {}, "data": {"text/plain": text}} for text in texts]
    cell = {
        "cell_type": "code", "id": "one", "execution_count": 1, "source": "run.apply()", "outputs": shown,
        "metadata": {"papermill": {"duration": 0.5, "status": "completed"}},
    }  # fmt: skip
    papermill = {"parameters": dict(parameters or {}), "start_time": FIRST.isoformat()}
    return {
        "nbformat": 4, "nbformat_minor": 5, "cells": [cell],
        "metadata": {"genonaut": {"status": "ok", **said}, "papermill": papermill},
    }  # fmt: skip


def write(
    folder: Path, at: datetime, executed: Mapping[str, Any] | None = None, *, sealed: bool = True, **changes: Any
) -> str:  # fmt: skip
    """Write the files of a run that began at `at`, and return the stem of their names."""
    run_id = uuid.uuid4()
    name = changes.get("notebook", "10_seed_tags")
    output = folder / f"{at:%Y-%m-%d}" / f"{at:%H%M%S}_{name}_{run_id.hex[:6]}.ipynb"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(executed or notebook()))
    output.with_suffix(".html").write_text("<p>report</p>")
    if sealed:
        told = {
            "notebook": name, "outcome": "ok", "actor": "ada@host", "parameters_digest": "0" * 64,
            "started_at": at, "ended_at": at + timedelta(seconds=5), "notebook_digest": "0" * 64, **changes,
        }  # fmt: skip
        made = Manifest(run_id=run_id, output=manifest.below(folder, output), **told)
        where = Standing(Folder("f" * 32, "host", str(folder)), 1, NOTHING, None)
        link = links.make(Entry(RUN, made.content(), "ada@host"), where, None)
        output.with_suffix(manifest.MANIFEST).write_bytes(link.line)
    return output.stem
