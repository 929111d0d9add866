"""Texts below a text: the same bytes without colours, tags, escapes or blanks, each place traceable to its origin.

A traceback paints half of a word red, HTML wraps a part of it into a tag, a JSON text inside a JSON text escapes it
twice, and a log quotes some of its letters. Each such layer is taken off here, so that what lies below is
searched as plain bytes, and a hit leads back to the bytes above that show it.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from genonaut_lib.runs.secrets.spellings import BLANKS, encoded, squeezed

Numbers = NDArray[np.int64]
_IS_BLANK = np.isin(np.arange(256), list(BLANKS))

ROUNDS = 3
"""How often escapes are taken off: once for each format that one text may stand inside another's."""


def _nothing(_: bytes) -> bytes:
    return b""


@dataclass(frozen=True)
class Change:
    """What one layer takes off: `pattern` finds it, `read` says what is below; `marks`: one of them is in all of it."""

    pattern: re.Pattern[bytes]
    marks: tuple[bytes, ...]
    read: Callable[[bytes], bytes] = _nothing

    def apply(self, data: bytes) -> bytes:
        """Return the bytes below; the same object where there is nothing to take off."""
        if not any(mark in data for mark in self.marks):
            return data
        below = self._all_read(data)
        return data if below == data else below

    def tokens(self, data: bytes) -> tuple[Numbers, Numbers]:
        """Return the ranges of all that is taken off, in order, and the length of what each means."""
        read = functools.cache(self.read)
        found = [(*match.span(), len(read(match[0]))) for match in self.pattern.finditer(data)]
        table = np.array(found, dtype=np.int64).reshape(-1, 3)
        return table[:, :2], table[:, 2]

    def _all_read(self, data: bytes) -> bytes:
        if self.read is _nothing:
            return self.pattern.sub(b"", data)
        # A long text holds the same few tokens again and again.
        read = functools.cache(self.read)
        return self.pattern.sub(lambda found: read(found[0]), data)


class _Squeeze(Change):
    """Blanks are too many to look at one by one."""

    def tokens(self, data: bytes) -> tuple[Numbers, Numbers]:
        """Return every single blank; none of them means anything."""
        places = np.flatnonzero(_IS_BLANK[np.frombuffer(data, dtype=np.uint8)])
        return np.stack([places, places + 1], axis=1), np.zeros(len(places), dtype=np.int64)

    def _all_read(self, data: bytes) -> bytes:
        return squeezed(data)


@dataclass(frozen=True)
class Layer:
    """Bytes that lie below those of `above`, or the text itself when there is nothing above."""

    data: bytes
    above: Layer | None = None
    change: Change | None = None

    @property
    def is_shown(self) -> bool:
        """Whether what stands side by side here does so for a reader too: neither tags nor blanks were taken off."""
        return self.above is None or (self.change not in (TAGS, INVISIBLE, SQUEEZE) and self.above.is_shown)

    def below(self, change: Change) -> Layer:
        """Return the layer below; this one itself where the change finds nothing."""
        data = change.apply(self.data)
        return self if data is self.data else Layer(data, self, change)

    def places(self, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return, for ranges of this layer, the ranges of the topmost text that show them."""
        if not ranges:
            return []
        return [(first, last) for first, last in self.origins(np.array(ranges, dtype=np.int64)).tolist()]

    def origins(self, ranges: Numbers) -> Numbers:
        """Return the same as `places`, of rows and in rows of two numbers, a first byte and the one behind the last."""
        if self.above is None:
            return ranges
        first, last = self._up(ranges[:, 0])[0], self._up(ranges[:, 1] - 1)[1]
        return self.above.origins(np.stack([first, last], axis=1))

    def _up(self, places: Numbers) -> tuple[Numbers, Numbers]:
        """Return the ranges above that single bytes come from."""
        starts, lengths, removed, spans = self._tokens
        number = np.searchsorted(starts, places, side="right") - 1
        literal = places + np.where(number < 0, 0, removed[number])
        in_token = (number >= 0) & (places < starts[number] + lengths[number])
        first, last = (np.where(in_token, spans[number, side], literal + side) for side in (0, 1))
        return first, last

    @cached_property
    def _tokens(self) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        """What was taken off: where it begins here, its length here, bytes removed up to its end, its range above."""
        assert self.above is not None
        assert self.change is not None
        spans, lengths = self.change.tokens(self.above.data)
        removed = np.cumsum(spans[:, 1] - spans[:, 0] - lengths)
        return spans[:, 1] - removed - lengths, lengths, removed, spans


def layers(text: bytes) -> Iterator[Layer]:
    """Yield the text and every layer below it, none twice; those without blanks come last of each."""
    top = Layer(text)
    plain = top.below(COLOURS)
    bare = plain.below(TAGS).below(INVISIBLE)
    found = [top, plain, *_unescaped(plain), bare, *_unescaped(bare, INVISIBLE)]
    for number, layer in enumerate(found):
        if all(layer is not other for other in found[:number]):
            yield layer
            narrow = layer.below(SQUEEZE)
            if narrow is not layer:
                yield narrow


def _unescaped(layer: Layer, also: Change | None = None) -> Iterator[Layer]:
    """Yield what is below the escapes of a text, once for every round that still finds some."""
    for _ in range(ROUNDS):
        below = layer.below(ESCAPES)
        if below is layer:
            return
        yield below
        layer = below.below(COLOURS)
        layer = layer.below(also) if also else layer
        yield layer


def _unescape(token: bytes) -> bytes:
    """Return what one escape means; of a byte that is no text of its own, the byte."""
    if token.startswith(b"%"):
        return bytes([int(token[1:], 16)])
    if token.startswith(b"&"):
        return encoded(html.unescape(token.decode()))
    return _unbackslash(token)


def _unbackslash(token: bytes) -> bytes:
    kind, digits = token[1:2], token[2:]
    if kind == b"x":
        return bytes([int(digits, 16)])
    if kind in b"01234567" and len(token) == 4:
        return bytes([int(token[1:], 8)])
    if kind == b"u" and len(token) == 12:
        return bytes.fromhex(f"{digits[:4].decode()}{token[8:].decode()}").decode("utf-16-be").encode()
    if kind in b"uU" and digits:
        return encoded(chr(min(int(digits, 16), 0x10FFFF)))
    return _CONTROLS.get(kind, kind)


_CONTROLS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"0": b"\0"}

COLOURS = Change(
    # Control sequences of a terminal (ECMA-48, 5.4 and 8.3.89).
    re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x00\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])"),
    (b"\x1b",),
)
INVISIBLE = Change(
    # Letters that take no room: zero-width ones, the soft hyphen, the mark of byte order.
    re.compile(rb"\xe2\x80[\x8b-\x8d]|\xc2\xad|\xef\xbb\xbf"),
    (b"\xe2\x80", b"\xc2\xad", b"\xef\xbb\xbf"),
)
TAGS = Change(re.compile(rb"<[A-Za-z/!][^<>\x00]{0,1000}>"), (b"<",))
ESCAPES = Change(
    re.compile(
        rb"%[0-9A-Fa-f]{2}"
        rb"|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
        rb"|\\(?:u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}"
        rb"|x[0-9A-Fa-f]{2}|[0-3][0-7]{2}|[abfnrtv0]|[!-/:-@\[-`{-~])"
    ),
    (b"%", b"&", b"\\"),
    _unescape,
)
SQUEEZE = _Squeeze(re.compile(rb"[" + re.escape(BLANKS) + rb"]+"), tuple(bytes([byte]) for byte in BLANKS))
