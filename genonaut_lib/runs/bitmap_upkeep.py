"""What 54_seal_tag_bitmaps calls: how the index stands, and its sealing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pandas as pd

from genonaut_lib.db import engine, guard
from genonaut_lib.db.engine import translated
from genonaut_lib.errors import InvalidInput
from genonaut_lib.migration import bitmap_health, bitmap_seal
from genonaut_lib.migration.bitmap_health import BitmapStatus
from genonaut_lib.migration.bitmap_seal import SealResult
from genonaut_lib.runs.session import settings_of
from genonaut_lib.runs.views import View, figures_view

NEVER = "never"


class BitmapUpkeep:
    """One sealing of an environment's tag bitmaps; `items` of one transaction, 0 for the usual number."""

    def __init__(self, environment: str, *, dry_run: bool, force: bool, items: int) -> None:
        if items < 0:
            raise InvalidInput(f"items is {items}, and must be at least 0.")
        self.settings = settings_of(environment)
        self.dry_run, self.force, self.items = dry_run, force, items
        with translated():
            self.connection = engine.connect(self.settings, writing=not dry_run)
            if not dry_run:
                guard.require_adopted(self.connection, self.settings)
        self.result: SealResult | None = None

    def __repr__(self) -> str:
        return repr(self._header())

    def _repr_html_(self) -> str:
        return self._header()._repr_html_()

    def standing(self) -> View:
        """Show what is sealed and marked, and what to do next."""
        with translated():
            found = bitmap_health.status(self.connection)
        if not found.present:
            return View("Tag bitmaps: none", remark=found.next_step(self.settings.bitmaps))
        return figures_view("Tag bitmaps", standing_figures(found), found.next_step(self.settings.bitmaps))

    def sizes(self) -> View:
        """Show what the tables take on disk."""
        with translated():
            found = bitmap_health.status(self.connection).bytes
        rows = [(name, size / 1e6) for name, size in found.items()]
        return View("On disk", pd.DataFrame(rows, columns=["table", "MB"]) if rows else None)

    def seal(self) -> View:
        """Seal what is due, or with `force` whatever is marked; with `dry_run`, say that nothing was done."""
        if self.dry_run:
            return View("Dry run: nothing was sealed", remark="Set dry_run = False to seal.")
        self.result = bitmap_seal.seal(self.settings, items=self.items or None, force=self.force, report=_say)
        if not self.result.batches:
            return View("Nothing is due", remark="force = True seals whatever is marked.")
        return View("Sealed", remark=str(self.result))

    def summary(self) -> View:
        """Show what was done to how many items."""
        return figures_view("Summary", seal_figures(self.result or SealResult()))

    def _header(self) -> View:
        figures = {
            "environment": self.settings.environment,
            "mode": "dry run" if self.dry_run else "apply",
            "sealed from": "any marked item" if self.force else self._limits(),
        }
        return figures_view("Seal the tag bitmaps", figures)

    def _limits(self) -> str:
        knobs = self.settings.bitmaps
        return f"{knobs.seal_items:,} marked items, or one marked {knobs.seal_age_s:g} s ago"


def standing_figures(found: BitmapStatus) -> Mapping[str, Any]:
    """Return what there is to say of an index, by words that people read."""
    now, marked = found.standing, found.marked
    return {
        "serving epoch": now.serving or "none",
        "changes are marked": "yes" if found.armed else "no",
        "items sealed": now.sealed,
        "tags with bitmaps": now.tags,
        "items marked": marked.items,
        "marks": marked.marks,
        "oldest mark, s": 0.0 if marked.oldest_s is None else marked.oldest_s,
        "due to be sealed": marked.due,
        "waiting for a build": marked.waiting,
        "too new yet": marked.young,
        "dead ranks, %": 100 * found.dead_share,
        "megabytes": sum(found.bytes.values()) / 1e6,
        "built": now.built_at or NEVER,
        "last sealed": now.sealed_at or NEVER,
        "being built": _building(found),
    }


def seal_figures(found: SealResult) -> Mapping[str, Any]:
    """Return what a seal did, by words that people read."""
    return {
        "items sealed": found.sealed,
        "rewritten in place": found.rewritten,
        "appended": found.appended,
        "places given up": found.removed,
        "waiting for a build": found.waiting,
        "too new yet": found.young,
        "transactions": found.batches,
        "seconds": found.seconds,
    }


def _building(found: BitmapStatus) -> str:
    now = found.standing
    if now.building is None:
        return "no"
    share = f" of about {now.tags:,}" if now.tags else ""
    return f"epoch {now.building}, {now.done:,}{share} tags, {'at work' if now.at_work else 'interrupted'}"


def _say(so_far: SealResult) -> None:
    sys.stdout.write(f"{so_far.batches}: {so_far.sealed:,} items sealed, {so_far.appended:,} of them appended\n")
