"""Secrets that show by their surroundings, so that nobody has to know them: passwords in addresses, private keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

# The password ends at the last @ before the path. What an address must percent-encode ends it too, or a
# line of HTML with a port here and a mail address there would be one.
_ADDRESS = re.compile(rb"://[^\s/@:?#\"'<>`\\\x00]{0,200}:([^\s/\"'<>`\\\x00]{1,500})@")
_PRIVATE_KEY = re.compile(
    rb"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----([^\x00]{1,20000}?)-----END [A-Z ]{0,30}PRIVATE KEY-----"
)
_PLACEHOLDER = re.compile(
    rb"password|\*+|x{3,}|\.{3}|\xe2\x80\xa6|%s|\[redacted(?::[0-9a-f]{8})?\]|\$?\{[^{}]*\}|\$[A-Z_]+", re.IGNORECASE
)


def unknown_secrets(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where a password in an address, or the inside of a private key in PEM, begins and ends."""
    if b"://" in data:
        for found in _ADDRESS.finditer(data):
            if not _PLACEHOLDER.fullmatch(found[1]):
                yield found.span(1)
    if b"PRIVATE KEY-----" in data:
        for found in _PRIVATE_KEY.finditer(data):
            if not _PLACEHOLDER.fullmatch(found[1].strip()):
                yield found.span(1)
