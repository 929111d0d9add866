"""The HTML copy of an executed notebook: readable in any browser, without a server or a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import DictLoader
from markupsafe import Markup
from nbconvert import HTMLExporter

from genonaut_lib.runs.reading import pages
from genonaut_lib.runs.reading.card import card_of
from genonaut_lib.runs.record_file import write_atomically
from genonaut_lib.runs.secrets.redaction import Redactor

_TEMPLATE = "genonaut.html.j2"
_LAYOUT = """{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:;
 font-src data:; base-uri 'none'; form-action 'none'">
{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block body_header -%}{{ super() }}{{ resources.genonaut_header }}{%- endblock -%}
"""
"""JupyterLab's look with our header; its scripts, which come from other places, are left out, and none may run."""


def html_path(notebook: Path) -> Path:
    """Return where the HTML copy of an executed notebook lies."""
    return notebook.with_suffix(".html")


def write_html(notebook: Path, redactor: Redactor, actor: str | None = None) -> Path:
    """Write the HTML copy beside an executed notebook, as a whole or not at all; return its path.

    Above its first cell stands what ran, when, by whom, and how it ended. The copy is sealed, so it names the run
    before it, and of those behind it the page that will tell them. The notebook was saved without secrets; what the
    exporter adds is looked through all the same. Raises OSError.
    """
    record = nbformat.reads(notebook.read_text(encoding="utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    resources = {"metadata": {"name": notebook.stem}, "genonaut_header": _header(notebook, actor)}
    body, _ = _exporter().from_notebook_node(record, resources)
    target = html_path(notebook)
    write_atomically(target, redactor.text(body).encode())
    return target


def _exporter() -> Any:
    return HTMLExporter(  # type: ignore[no-untyped-call]  # nbconvert types it loosely
        exclude_input_prompt=True, exclude_output_prompt=True,
        template_file=_TEMPLATE, extra_loaders=[DictLoader({_TEMPLATE: _LAYOUT})],
    )  # fmt: skip


def _header(notebook: Path, actor: str | None) -> Markup:
    """Return the header of a report; the template escapes whatever the record holds."""
    card = card_of(notebook.parents[1], notebook.parent.name, notebook.stem, (".ipynb",))
    return Markup(pages.report_header(replace(card, actor=actor), _report_before(notebook)))  # noqa: S704


def _report_before(notebook: Path) -> str | None:
    """Return the report of the run before, from this one's folder: that day's, or the newest of the day before."""
    folder = notebook.parent
    days = sorted(path for path in folder.parent.iterdir() if path.is_dir() and path.name[:2] == "20")
    for day in [folder, *reversed([day for day in days if day.name < folder.name])]:
        found = [path.name for path in day.glob("[0-9]*.html") if day != folder or path.stem < notebook.stem]
        if found:
            return f"../{day.name}/{max(found)}"
    return None
