"""The engine `genonaut` as papermill knows it: `papermill --engine genonaut in.ipynb out.ipynb`.

Papermill loads this module while it is being imported itself, so what needs papermill is imported when
the engine is at work.
"""

from __future__ import annotations

from typing import Any

NAME = "genonaut"


class GenonautEngine:
    """A papermill engine whose records tell the truth; see `runs/execution.py` for what it promises.

    Options of its own, all optional: `target` and `run_id` (see `Record`) and `limits` (see `Limits`).
    """

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, output_path: str | None = None, **options: Any) -> Any:
        """Execute a notebook on a kernel of this name and return it; raises what `execution.execute` raises."""
        from genonaut_lib.runs import execution

        return execution.execute(nb, kernel_name, output_path, options)

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> str:
        """Return the name of the kernel a notebook wants, or `name`."""
        from papermill.utils import nb_kernel_name

        return str(nb_kernel_name(nb, name))

    @classmethod
    def nb_language(cls, nb: Any, language: str | None = None) -> str:
        """Return the language of a notebook, or `language`."""
        from papermill.utils import nb_language

        return str(nb_language(nb, language))
