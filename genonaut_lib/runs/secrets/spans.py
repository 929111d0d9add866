"""Ranges of bytes that show a secret, and what is left without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """The bytes from `start` up to, but not including, `end`, and the secret they show."""

    start: int
    end: int
    secret: bytes


def merged(found: Mapping[tuple[int, int], bytes], data: bytes) -> list[Span]:
    """Return ranges and their secrets in order, overlapping ones as one of the longest.

    `data` is the text they lie in, so that no letter is cut in two; of bytes that are no text, nothing is given.
    """
    done: list[Span] = []
    longest = 0
    for (start, end), secret in sorted(found.items()):
        span = _whole_letters(Span(start, end, secret), data)
        last = done[-1] if done else None
        # Pieces of one secret that follow one another become one, too.
        if last is None or span.start > last.end or (span.start == last.end and span.secret != last.secret):
            done.append(span)
            longest = end - start
            continue
        shown = span.secret if end - start > longest else last.secret
        done[-1] = Span(last.start, max(last.end, span.end), shown)
        longest = max(longest, end - start)
    return done


def cut(parts: list[bytes], glue: bytes, spans: list[Span], mark: Callable[[bytes], str]) -> list[bytes]:
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
            here.append(mark(span.secret).encode() if span.secret else b"")
            place = min(span.end, end)
            waiting.pop()
            if span.end > end:
                # What reaches into the next parts is taken away there; its mark was set.
                waiting.append(Span(end, span.end, b""))
                break
        made.append(b"".join([*here, part[place - start :]]))
        start = end + len(glue)
    return made


def _whole_letters(span: Span, data: bytes) -> Span:
    """Bytes 0x80 to 0xBF go on with a letter of UTF-8 that began before them."""
    start, end = span.start, span.end
    while 0 < start < len(data) and data[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return Span(start, end, span.secret)
