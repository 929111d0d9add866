"""A mutant: one change of the source that some test claims to notice, as a patch of text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = "-- name: "


class PatchDoesNotFit(Exception):
    """What the patch looks for is not there exactly once: the source has changed, and the patch must follow."""


@dataclass(frozen=True)
class Mutant:
    """What is changed where, and the narrowest selection of tests that claims to notice.

    `file` is relative to the root; `block` names the block of an SQL file, and is empty for other files.
    """

    name: str
    file: str
    block: str
    find: str
    replace: str
    tests: tuple[str, ...]

    def applied(self, text: str) -> str:
        """Return the text of the file with the change; raise PatchDoesNotFit."""
        start, end = self._bounds(text)
        part = text[start:end]
        if part.count(self.find) != 1:
            raise PatchDoesNotFit(f"{self.name}: found {part.count(self.find)} times in {self._place}:\n{self.find}")
        return text[:start] + part.replace(self.find, self.replace) + text[end:]

    def apply(self, root: Path) -> None:
        """Change the file below `root`, a copy of the checkout."""
        path = root / self.file
        path.write_text(self.applied(path.read_text(encoding="utf-8")), encoding="utf-8")

    @property
    def _place(self) -> str:
        return f"{self.file}, block {self.block}" if self.block else self.file

    def _bounds(self, text: str) -> tuple[int, int]:
        if not self.block:
            return 0, len(text)
        head = f"{_BLOCK}{self.block}\n"
        start = 0 if text.startswith(head) else text.find(f"\n{head}")
        if start < 0:
            raise PatchDoesNotFit(f"{self.name}: there is no {self._place}")
        end = text.find(f"\n{_BLOCK}", start + len(head))
        return start, len(text) if end < 0 else end
