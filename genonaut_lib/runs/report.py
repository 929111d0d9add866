"""The HTML copy of an executed notebook: readable in any browser, without a server."""

from __future__ import annotations

from pathlib import Path

from nbconvert import HTMLExporter

from genonaut_lib.runs.redaction import Redactor


def html_path(notebook: Path) -> Path:
    """Return where the HTML copy of an executed notebook lies."""
    return notebook.with_suffix(".html")


def write_html(notebook: Path, redactor: Redactor) -> Path:
    """Write the HTML copy beside an executed notebook, by temporary file and rename; return its path.

    The notebook was saved without secrets; what the exporter adds is looked through all the same.
    """
    exporter = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True)  # type: ignore[no-untyped-call]  # nbconvert types it loosely
    body, _ = exporter.from_filename(str(notebook))
    target = html_path(notebook)
    draft = target.with_suffix(".html.draft")
    draft.write_text(redactor.text(body), encoding="utf-8")
    draft.replace(target)
    return target
