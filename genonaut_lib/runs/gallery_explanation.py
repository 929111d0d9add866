"""What 63_explain_gallery calls: the question, its executed plan, the archive of plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import yaml

from genonaut_lib.db import engine, guard
from genonaut_lib.db.engine import translated
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.request import GalleryRequest
from genonaut_lib.runs import plan_views
from genonaut_lib.runs.session import settings_of
from genonaut_lib.runs.views import Chart, View
from genonaut_lib.settings import nearest, project_root
from genonaut_lib.tuning import explain
from genonaut_lib.tuning.explain import Explained, Explainer

_FIELDS = sorted(field.name for field in fields(GalleryRequest))


class GalleryExplanation:
    """One query of the gallery, explained once; nothing but a file is written."""

    def __init__(self, environment: str, request: GalleryRequest, strategy: str, timeout_s: float) -> None:
        if timeout_s <= 0:
            raise InvalidInput(f"timeout_s is {timeout_s}, and must be more than 0.")
        self.settings = settings_of(environment)
        self.strategy, self.timeout_s = strategy or None, timeout_s
        self.found: Explained | None = None
        with engine.session(self.settings, writing=False) as connection:
            guard.require_readable(connection)
        with translated():
            self.explainer = Explainer(self.settings, request)

    def question(self) -> View:
        """Show what is asked, as it was understood."""
        return plan_views.question_view(self.explainer.query, self.strategy)

    def explain(self) -> View:
        """Execute the page under EXPLAIN and show its plan."""
        return plan_views.plan_view(self._explained())

    def compare(self) -> View:
        """Keep the plan and say whether it has the shape it had last time."""
        folder = project_root() / "outputs" / self.settings.environment / "plans"
        return plan_views.archive_view(explain.archive(self._explained(), folder))

    def chart(self) -> Chart:
        """Plot the time of each node."""
        return plan_views.times_chart(self._explained())

    def _explained(self) -> Explained:
        if self.found is None:
            with translated():
                self.found = self.explainer.explain(self.strategy, self.timeout_s)
        return self.found


def request(tags: str, match: str, more: str) -> GalleryRequest:
    """Return the request that a notebook's parameters mean.

    `tags` are words, separated by commas; `more` are further fields of a GalleryRequest as YAML, such
    as `exclude: [nsfw], sort_field: title`. Raises InvalidInput for what is not YAML or no such field.
    """
    words = [word.strip() for word in tags.split(",") if word.strip()]
    return GalleryRequest(**{"tags": words, "match": match, **_further(more)})


def _further(more: str) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(f"{{{more}}}")
    except yaml.YAMLError:
        raise InvalidInput(f"{more!r} is not YAML.", hint="For example: exclude: [nsfw], sort_field: title") from None
    for name in found:
        if name not in _FIELDS:
            raise InvalidInput(
                f"A request has no field {name!r}.", hint=f"{nearest(str(name), _FIELDS)}It has: {', '.join(_FIELDS)}."
            )
    return dict(found)
