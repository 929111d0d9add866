"""No secret in a record: texts, notebooks and bytes with every known secret replaced by a mark.

A `Redactor` knows the secrets of this process (`known_secrets.py`) and finds them in all usual spellings
(`spellings.py`), also below colours, tags, escapes and line breaks (`layers.py`), and where they are spread over
several strings (`passages.py`). Besides, it hides the password of any address `scheme://user:password@host`
and any private key in PEM, known or not.

In a secret's place stands `[redacted:1a2b3c4d]`: the first digits of a fingerprint that only who holds the
key can compute (`fingerprints.py`). So two records show whether they hid the same value, and neither shows which.

What it does not find: a secret that was compressed, encrypted, drawn as a picture, spelt backwards, or mixed with
other letters, and one that is shorter than six bytes or a word of the records themselves (see `weakness`).
"""

from __future__ import annotations

import functools
import hmac
import json
import secrets as randomness
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import WeakSecret
from genonaut_lib.runs.secrets import fingerprints, known_secrets
from genonaut_lib.runs.secrets.known_secrets import weakness
from genonaut_lib.runs.secrets.layers import Layer, layers
from genonaut_lib.runs.secrets.needles import Needles
from genonaut_lib.runs.secrets.passages import Passage, Walk
from genonaut_lib.runs.secrets.patterns import unknown_secrets
from genonaut_lib.runs.secrets.spans import Span, cut, merged
from genonaut_lib.runs.secrets.spellings import SHORTEST, encoded, pieces, spellings
from genonaut_lib.settings import Settings

Key = Callable[[], bytes]
MARK_DIGITS = 8
_MOST_KNOWN, _LONGEST_KNOWN = 1_000, 65_536
_ROUNDS = 8
"""A mark may make a new occurrence with what stands beside it; the second round has always been the last."""


class Redactor:
    """Replaces secrets by marks. It never changes what it is given; what holds no secret comes back equal."""

    def __init__(
        self, secrets: Iterable[str | bytes] = (), key: Key | None = None, *, whole: Iterable[str | bytes] = ()
    ) -> None:
        """Take secrets, and what gives the key of the fingerprints; without it, a key that this object alone has.

        `whole` are those of which a part is no secret: of an address, all but the password. Raises WeakSecret
        for a secret that cannot be told from ordinary text, see `weakness`.
        """
        self._key = functools.cache(key or functools.partial(randomness.token_bytes, 32))
        self._secrets = frozenset(map(_bytes_of, secrets))
        self._whole = frozenset(map(_bytes_of, whole))
        self._meant: dict[bytes, bytes] = {}
        # Longer ones first: where two secrets share a spelling, it is marked as the longer one's.
        ordered = sorted(self._secrets | self._whole, key=lambda one: (-len(one), one))
        for learn in (self._learn, self._learn_plainer):
            for secret in ordered:
                learn(secret)
        self._known: dict[Passage, tuple[str, ...]] = {}
        self._needles = Needles.of(self._meant)
        self._longest = max(map(len, self._meant), default=0)
        self._has_figures = any(secret.strip(b"0123456789+-.eE") == b"" for secret in self._secrets)

    @classmethod
    def of_environment(cls, settings: Settings, connection: Connection | None = None) -> Redactor:
        """Return the redactor of all secrets this process knows, see `known_secrets.known`.

        With a connection, the keys that the database keeps are among them, and fingerprints are taken with a
        key that all users of this database share. Raises WeakSecret where a protected environment has a
        password that is too short or too common; elsewhere such a one is hidden in addresses only.
        """
        found = known_secrets.known(settings)
        weak = [one for one in found if one.weakness]
        if settings.protected and weak:
            raise _refusal([one.name for one in weak])
        strong = [one for one in found if not one.weakness]
        whole = [*(one.value for one in strong if one.whole), *known_secrets.in_addresses(weak)]
        parts = (one.value for one in strong if not one.whole)
        if connection is None:
            return cls(parts, functools.partial(fingerprints.load_key, None), whole=whole)
        # Before the keys, since this may add one; and now, since the session may be closed later.
        key = fingerprints.load_key(connection)
        return cls([*parts, *fingerprints.kept_keys(connection)], lambda: key, whole=whole)

    def also(self, secrets: Iterable[str | bytes]) -> Redactor:
        """Return a redactor that knows further secrets, with the same fingerprints. Raises WeakSecret."""
        return Redactor([*self._secrets, *secrets], self._key, whole=self._whole)

    def fingerprint(self, value: str | bytes) -> str:
        """Return 64 hexadecimal digits that tell whether two values are the same, to no one without the key."""
        return hmac.digest(self._key(), b"genonaut.fingerprint\0" + _bytes_of(value), "sha256").hex()

    def mark(self, value: str | bytes) -> str:
        """Return what stands in the place of a value."""
        return f"[redacted:{self.fingerprint(value)[:MARK_DIGITS]}]"

    def holds_secret(self, value: Any) -> bool:
        """Return whether a text or a JSON-like value holds a secret."""
        return bool(self.node(value) != value)

    def text(self, value: str) -> str:
        """Return a text without secrets."""
        return self._parts(Passage((value,)))[0]

    def bytes_(self, value: bytes) -> bytes:
        """Return bytes without secrets; what is no UTF-8 may stand in them."""
        for _ in range(_ROUNDS):
            spans = self._spans(value, whole_letters=False)
            if not spans:
                break
            value = cut([value], b"", spans, self.mark)[0]
        return value

    def begin(self, value: bytes) -> tuple[bytes, bytes]:
        """Return what of a text that still grows can be written, without secrets, and the rest, to be given again.

        The rest is as long as the longest spelling of any secret, so none is cut in two.
        """
        end = max(len(value) - self._longest, 0)
        for span in self._spans(value, whole_letters=False) if end else []:
            if span.start < end < span.end:
                end = span.start
        return self.bytes_(value[:end]), value[end:]

    def node(self, value: Any) -> Any:
        """Return a copy of a JSON-like value (of a notebook, for one) without secrets, in keys and in values.

        The messages of a stream, and the strings of a list, are read on from one to the next.
        """
        met: dict[Passage, None] = {}
        copy = Walk(lambda passage: met.setdefault(passage) or passage.parts, self._leaf).through(value)
        changed = self._changed(list(met))
        if not changed:
            return copy
        return Walk(lambda passage: changed.get(passage, passage.parts), self._leaf).through(value)

    def _changed(self, passages: list[Passage]) -> dict[Passage, tuple[str, ...]]:
        """Return what stands for each passage that holds a secret."""
        changed = {passage: self._known[passage] for passage in passages if passage in self._known}
        # Most secrets are met as they are; only what is left has to be looked at below its escapes.
        for ways in (_top_only, layers):
            for passage in self._found_in([one for one in passages if one not in changed], ways):
                changed[passage] = self._parts(passage)
        for passage in passages:
            if passage.goes_on and passage not in changed and self._begun(passage.text):
                changed[passage] = self._parts(passage)
        self._remember(changed)
        return changed

    def _found_in(self, passages: list[Passage], ways: Callable[[bytes], Iterable[Layer]]) -> list[Passage]:
        """Return the passages that hold a secret in one of their layers.

        All are searched as one text, which costs less than each by itself; a separator that nobody can
        foresee keeps them apart, in every layer.
        """
        separator = b"\0" + randomness.token_hex(8).encode() + b"\0"
        whole = separator.join(passage.text for passage in passages)
        numbers: set[int] = set()
        for layer in ways(whole):
            found = [hit.start for hit in self._needles.hits(layer.data)]
            found += [start for start, _ in _unknown(layer)]
            numbers.update(_numbers(layer.data, separator, sorted(found)))
        return [passages[number] for number in sorted(numbers)]

    def _remember(self, changed: Mapping[Passage, tuple[str, ...]]) -> None:
        """A notebook is saved many times, and the cells that have ended stay what they are."""
        for passage, parts in changed.items():
            if len(self._known) < _MOST_KNOWN and sum(map(len, passage.parts)) <= _LONGEST_KNOWN:
                self._known[passage] = parts

    def _parts(self, passage: Passage) -> tuple[str, ...]:
        """Return the parts of a passage without secrets; a mark stands where its secret began."""
        parts, glue = [encoded(part) for part in passage.parts], encoded(passage.glue)
        for _ in range(_ROUNDS):
            whole = glue.join(parts)
            spans = self._spans(whole) or (self._begun(whole) if passage.goes_on else [])
            if not spans:
                break
            parts = cut(parts, glue, spans, self.mark)
        return tuple(part.decode("utf-8", "surrogatepass") for part in parts)

    def _begun(self, data: bytes) -> list[Span]:
        """Return the place of a secret of which a text ends with the first half or more.

        The rest may come a moment after the notebook was saved, or never if the run is killed just then.
        """
        for secret in self._secrets:
            for length in range(len(secret) - 1, max(SHORTEST, len(secret) // 2) - 1, -1):
                if data.endswith(secret[:length]):
                    return [Span(len(data) - length, len(data), secret)]
        return []

    def _spans(self, data: bytes, *, whole_letters: bool = True) -> list[Span]:
        """Return the places of all secrets, in order, none overlapping another."""
        found: dict[tuple[int, int], bytes] = {}
        unknown: dict[tuple[int, int], bytes] = {}
        for layer in layers(data):
            hits = list(self._needles.hits(layer.data))
            for place, hit in zip(layer.places([hit[:2] for hit in hits]), hits, strict=True):
                found.setdefault(place, self._meant[hit.needle])
            shown = list(_unknown(layer))
            for place, (start, end) in zip(layer.places(shown), shown, strict=True):
                unknown.setdefault(place, layer.data[start:end])
        # Of a password that is known, its own fingerprint is the one to compare.
        return merged(unknown | found, data if whole_letters else b"")

    def _leaf(self, value: Any) -> Any:
        if isinstance(value, bytes):
            return self.bytes_(value)
        if self._has_figures and isinstance(value, int | float) and not isinstance(value, bool):
            shown = json.dumps(value)
            return value if self.text(shown) == shown else self.text(shown)
        return value

    def _learn(self, secret: bytes) -> None:
        if weakness(secret):
            raise _refusal([])
        # A secret of several lines is known line by line besides.
        parts = set() if secret in self._whole or b"\n" in secret else pieces(secret)
        for spelling in spellings(secret) | parts:
            self._meant.setdefault(spelling, secret)

    def _learn_plainer(self, secret: bytes) -> None:
        """Where escapes and tags were taken off a text, those that the secret itself happens to hold went as well."""
        for layer in layers(secret):
            if not weakness(layer.data):
                self._meant.setdefault(layer.data, secret)


def _top_only(data: bytes) -> Iterable[Layer]:
    return [Layer(data)]


def _unknown(layer: Layer) -> Iterable[tuple[int, int]]:
    return unknown_secrets(layer.data) if layer.is_shown else ()


def _numbers(data: bytes, separator: bytes, places: list[int]) -> set[int]:
    """Return in which of the passages each of the places, which are in order, lies."""
    numbers: set[int] = set()
    number = behind = 0
    for place in places:
        number += data.count(separator, behind, place)
        behind = place
        numbers.add(number)
    return numbers


def _bytes_of(value: str | bytes) -> bytes:
    return encoded(value) if isinstance(value, str) else value


def _refusal(names: list[str]) -> WeakSecret:
    which = f" ({', '.join(sorted(set(names)))})" if names else ""
    return WeakSecret(
        f"A secret{which} cannot be told from ordinary text, so the records could not be kept free of it.",
        hint="Choose one of at least six characters, not a word such as the user's or the database's name.",
    )
