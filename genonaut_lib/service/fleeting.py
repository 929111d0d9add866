"""A memory for what seldom changes: short, so that nobody has to tell it of a change."""

from __future__ import annotations

import time
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Fleeting(Generic[Key, Value]):
    """Forgets everything at once: when the first of it is `lasts_s` old, and when there are `most` things in it."""

    def __init__(self, lasts_s: float, most: int) -> None:
        self._lasts_s = lasts_s
        self._most = most
        self._known: dict[Key, Value] = {}
        self._ends = 0.0

    def current(self) -> dict[Key, Value]:
        """Return what is known and may be added to; whoever holds it goes on with it though it be forgotten here."""
        now = time.monotonic()
        if now >= self._ends or len(self._known) >= self._most:
            self._known, self._ends = {}, now + self._lasts_s
        return self._known
