"""The HTML copy of an executed notebook: readable in any browser, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter

from genonaut_lib.runs.record_file import status_of, write_atomically
from genonaut_lib.runs.secrets.redaction import Redactor


def html_path(notebook: Path) -> Path:
    """Return where the HTML copy of an executed notebook lies."""
    return notebook.with_suffix(".html")


def write_html(notebook: Path, redactor: Redactor) -> Path:
    """Write the HTML copy beside an executed notebook, as a whole or not at all; return its path.

    A run that did not end well says so above its first cell. The notebook was saved without secrets; what the
    exporter adds is looked through all the same. Raises OSError.
    """
    exporter = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True)  # type: ignore[no-untyped-call]  # nbconvert types it loosely
    record = nbformat.reads(notebook.read_text(encoding="utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    record.cells[:0] = _verdict(status_of(record))
    body, _ = exporter.from_notebook_node(record, {"metadata": {"name": notebook.stem}})
    target = html_path(notebook)
    write_atomically(target, redactor.text(body).encode())
    return target


def _verdict(said: Mapping[str, Any]) -> list[Any]:
    """Return the cell that says how a run ended, none for one that ended well."""
    if said.get("status") in (None, "ok"):
        return []
    message = str((said.get("failure") or {}).get("message", ""))
    text = f"**This run ended as `{said['status']}`.**\n\n{_verbatim(message)}"
    return [nbformat.v4.new_markdown_cell(text)]  # type: ignore[no-untyped-call]


def _verbatim(text: str) -> str:
    """Return text as a block of code: whatever is in it is shown, never taken for Markdown or HTML."""
    return "\n".join(f"    {line}" for line in text.splitlines())
