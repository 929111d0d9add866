"""Answer from the tag bitmap index, by set algebra in this process: there is no statement to narrow."""

from __future__ import annotations

from genonaut_lib.gallery.clauses import Shape


class Bitmap:
    """Best where tags are many or popular and seldom meet, and wherever an exact total is wanted."""

    name = "bitmap"
    stale = False

    def fits(self, shape: Shape) -> str | None:
        """It answers every shape; see Approach."""
        return None


BITMAP = Bitmap()
