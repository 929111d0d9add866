"""How a secret may be spelt in a record: as it is, escaped, quoted, or as base64, hexadecimal or decimal figures.

Spellings that stand side by side are found by exact search (`needles.py`). What mixes them, such as a password that
is quoted here and there only, is found by taking the escapes off the text instead (`layers.py`).
"""

from __future__ import annotations

import base64
import html
import json
import urllib.parse
from collections.abc import Callable, Iterator
from itertools import chain

BLANKS = b" \t\r\n\x0b\x0c"
SHORTEST = 6
"""Bytes of the shortest spelling looked for; shorter ones would be met in ordinary text."""
PIECE = 16


def spellings(secret: bytes) -> set[bytes]:
    """Return every spelling of a secret, none shorter than `SHORTEST` bytes.

    A spelling in base64 is the part of it that does not depend on what stands before and behind the secret.
    """
    escaped = set(_escaped(secret))
    found = set(escaped)
    for one in _embedded(secret):
        found.update(_figures(one))
    for one in _wide(secret):
        found.update([one, *_figures(one)])
    for inner in _base64(secret):
        found.update(_base64(inner))
    # Whoever breaks lines, or sets blanks between the figures of a dump, must not hide a secret by it.
    return {one for one in chain(found, map(squeezed, escaped)) if len(one) >= SHORTEST}


def pieces(secret: bytes) -> set[bytes]:
    """Return spellings of the pieces of a long secret, of which a shortened display may show a part only.

    Each piece has `PIECE` bytes, so whatever shows twice as many bytes of the secret in a row shows a whole piece.
    A secret of up to that length has none.
    """
    if len(secret) <= 2 * PIECE:
        return set()
    cut = [secret[place : place + PIECE] for place in range(0, len(secret) - PIECE + 1, PIECE)]
    return {one for piece in cut for one in (*_escaped(piece), piece.hex().encode(), *_base64(piece))}


def squeezed(data: bytes) -> bytes:
    """Return the bytes without blanks and line breaks."""
    return data.translate(None, BLANKS)


def _escaped(secret: bytes) -> Iterator[bytes]:
    """Yield the secret as text that a reader recognises, escaped in the usual ways."""
    yield secret
    yield _bytes_escaped(secret)
    yield from (b"".join(form % byte for byte in secret) for form in (b"%%%02x", b"%%%02X", b"\\x%02x"))
    text = _text_of(secret)
    if text is None:
        return
    yield from (encoded(way(text)) for way in _WAYS)
    yield from (encoded(after(first(text))) for first, after in _PAIRS)
    yield from (encoded("".join(map(way, text))) for way in _EVERY_LETTER)


def _embedded(secret: bytes) -> set[bytes]:
    """Return the spellings that occur inside something which is then put into figures as a whole."""
    text = _text_of(secret)
    if text is None:
        return {secret}
    return {secret, *(encoded(way(text)) for way in (_json, _json_plain, html.escape, _quoted, _repr))}


def _wide(secret: bytes) -> list[bytes]:
    """Return the secret in UTF-16, both ways round."""
    text = _text_of(secret)
    return [] if text is None else [text.encode(kind, "surrogatepass") for kind in ("utf-16-le", "utf-16-be")]


def _figures(data: bytes) -> Iterator[bytes]:
    """Yield bytes in hexadecimal, decimal and base64."""
    for digits in (data.hex(), data.hex().upper()):
        pairs = [digits[place : place + 2] for place in range(0, len(digits), 2)]
        yield from (mark.join(pairs).encode() for mark in ("", ":", "-", ","))
        yield ",".join(f"0x{pair}" for pair in pairs).encode()
    yield ",".join(map(str, data)).encode()
    yield from _base64(data)


def _base64(data: bytes) -> Iterator[bytes]:
    """Yield what every base64 of anything that holds `data` contains, one for each place in a group of three."""
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + data)
        first, behind = -(-shift * 8 // 6), (shift + len(data)) * 8 // 6
        yield text[first:behind]
        yield text[first:behind].replace(b"+", b"-").replace(b"/", b"_")


def encoded(text: str) -> bytes:
    """Return text as UTF-8; halves of surrogate pairs, which JSON may hold, pass through."""
    return text.encode("utf-8", "surrogatepass")


def _text_of(secret: bytes) -> str | None:
    try:
        return secret.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None


def _bytes_escaped(secret: bytes) -> bytes:
    return repr(secret)[2:-1].encode()


def _latin(text: str) -> str:
    """The letters up to U+00FF as Python shows them inside bytes: a byte each."""
    return "".join(letter if ord(letter) < 128 or ord(letter) > 255 else f"\\x{ord(letter):02x}" for letter in text)


def _json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _json_plain(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _json_slashed(text: str) -> str:
    return _json(text).replace("/", "\\/")


def _repr(text: str) -> str:
    return repr(text)[1:-1]


def _repr_single(text: str) -> str:
    """As it stands in a longer text that holds both kinds of quotes."""
    return repr(text + "\"'")[1:-4]


def _repr_plain(text: str) -> str:
    """As it stands in a longer text whose quotes need no escape."""
    return _repr(text).replace("\\'", "'")


def _ascii(text: str) -> str:
    return ascii(text)[1:-1]


def _html_text(text: str) -> str:
    return html.escape(text, quote=False)


def _html_decimal_quotes(text: str) -> str:
    return _html_text(text).replace('"', "&#34;").replace("'", "&#39;")


def _xml(text: str) -> str:
    return _html_text(text).replace('"', "&quot;").replace("'", "&apos;")


def _quoted(text: str) -> str:
    return urllib.parse.quote(encoded(text), safe="")


def _quoted_path(text: str) -> str:
    return urllib.parse.quote(encoded(text))


def _quoted_plus(text: str) -> str:
    return urllib.parse.quote_plus(encoded(text))


def _quoted_small(text: str) -> str:
    return "".join(part if part[:1] != "%" else part.lower() for part in _percents(_quoted(text)))


def _percents(text: str) -> Iterator[str]:
    place = 0
    while place < len(text):
        width = 3 if text[place] == "%" else 1
        yield text[place : place + width]
        place += width


def _conninfo(text: str) -> str:
    """As it stands between the quotes of a connection string of libpq."""
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _sql(text: str) -> str:
    return text.replace("'", "''")


def _decimal_entity(letter: str) -> str:
    return f"&#{ord(letter)};"


def _hex_entity(letter: str) -> str:
    return f"&#x{ord(letter):x};"


def _json_letter(letter: str) -> str:
    return _json(letter) if ord(letter) > 0xFFFF else f"\\u{ord(letter):04x}"


_Way = Callable[[str], str]
_WAYS: tuple[_Way, ...] = (
    _json, _json_plain, _json_slashed, _repr, _repr_single, _repr_plain, _ascii, _latin, html.escape, _html_text,
    _html_decimal_quotes, _xml, _quoted, _quoted_path, _quoted_plus, _quoted_small, _conninfo, _sql,
)  # fmt: skip
_EVERY_LETTER: tuple[_Way, ...] = (_decimal_entity, _hex_entity, _json_letter)
_PAIRS: tuple[tuple[_Way, _Way], ...] = (
    (_quoted, _quoted), (_json, _json), (_json_plain, _json_plain), (_json, html.escape), (_json_plain, html.escape),
    (html.escape, _json), (html.escape, _json_plain), (_repr, html.escape), (_repr, _json_plain),
    (_quoted, html.escape), (html.escape, html.escape), (_repr, _repr),
)  # fmt: skip
