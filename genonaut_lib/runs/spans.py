"""Ranges of bytes that a mark is put in the place of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Span:
    """The bytes from `start` up to, but not including, `end`, and what comes in their place.

    Of several readings of the same bytes the one of the lowest rank counts.
    """

    start: int
    end: int
    rank: int
    mark: bytes


def merged(spans: Iterable[Span], data: bytes) -> list[Span]:
    """Return the spans in order, overlapping ones as one under the mark of the longest; no letter is cut in two."""
    done: list[Span] = []
    longest = 0
    for span in sorted(_whole_letters(span, data) for span in spans):
        length = span.end - span.start
        if not done or span.start >= done[-1].end:
            done.append(span)
            longest = length
            continue
        last = done[-1]
        mark = span.mark if length > longest else last.mark
        done[-1] = Span(last.start, max(last.end, span.end), 0, mark)
        longest = max(longest, length)
    return _joined(done)


def cut(parts: list[bytes], glue: bytes, spans: list[Span]) -> list[bytes]:
    """Return the parts without the bytes of the spans, which count over all parts with `glue` between them.

    A mark stands in the part where its span begins, or in the next one if it begins in the glue.
    """
    made: list[bytes] = []
    waiting = list(reversed(spans))
    start = 0
    for part in parts:
        end = start + len(part)
        here: list[bytes] = []
        place = start
        while waiting and waiting[-1].start < end:
            span = waiting[-1]
            here.append(part[place - start : max(span.start, place) - start])
            here.append(span.mark)
            place = min(span.end, end)
            waiting.pop()
            if span.end > end:
                # What reaches into the next parts is taken away there; its mark was set.
                waiting.append(Span(end, span.end, 0, b""))
                break
        made.append(b"".join([*here, part[place - start :]]))
        start = end + len(glue)
    return made


def _whole_letters(span: Span, data: bytes) -> Span:
    """Bytes 0x80 to 0xBF go on with a letter of UTF-8 that began before them."""
    start, end = span.start, span.end
    while start > 0 and start < len(data) and data[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return Span(start, end, span.rank, span.mark)


def _joined(spans: list[Span]) -> list[Span]:
    """Pieces of one secret that follow one another get one mark."""
    done: list[Span] = []
    for span in spans:
        if done and done[-1].end == span.start and done[-1].mark == span.mark:
            done[-1] = Span(done[-1].start, span.end, 0, span.mark)
        else:
            done.append(span)
    return done
