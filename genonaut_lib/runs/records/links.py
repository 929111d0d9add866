"""A link of the chain: one sealed entry, with the digest of the link before it. Nothing here touches a file.

A link is a JSON object in canonical form (see `manifest.canonical`), one line of `chain.jsonl`:

    v, kind, place      version of the form; run, retired or accepted; 1, 2, 3, ... within the folder
    previous            hash of the folder's link before it; zeros for the first
    folder              id for life, and host and path where it lay when the link was made
    ledger              id of the ledger the link belongs in, with the ledger's newest place and hash as seen then
    sealed_at, sealed_by, content
    key                 fingerprint of the key that signs, null without one
    hash                SHA-256 of all the above
    signature           Ed25519 over the hash, null without a key
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from genonaut_lib.runs.records.manifest import canonical, digest, dumped, moment
from genonaut_lib.runs.records.signing import SigningKey, Trust

VERSION = 1
NOTHING = "0" * 64
"""What stands as the previous hash where nothing came before."""
RUN, RETIRED, ACCEPTED = "run", "retired", "accepted"
_UNHASHED = ("hash", "signature")
_SHAPE = {"kind": str, "place": int, "previous": str, "folder": dict, "content": dict, "hash": str, "sealed_by": str}


@dataclass(frozen=True)
class Folder:
    """A folder of records: its id for life, and where it lies."""

    id: str
    host: str
    path: str


@dataclass(frozen=True)
class Seen:
    """A ledger by its id, and its newest row when a link was made; None when it could not be asked."""

    id: str
    place: int | None = None
    hash: str | None = None


@dataclass(frozen=True)
class Entry:
    """What is to be sealed: its kind, its content (JSON without fractions), and who seals it."""

    kind: str
    content: Mapping[str, Any]
    by: str


@dataclass(frozen=True)
class Standing:
    """Where the next link goes: folder, place, hash before it, and the ledger it belongs in, if any."""

    folder: Folder
    place: int
    previous: str
    ledger: Seen | None


@dataclass(frozen=True)
class Link:
    """One link, as its line says it; whether that is true is another question (`is_sound`, the chain)."""

    body: Mapping[str, Any]
    line: bytes

    @property
    def place(self) -> int:
        """Its place within its folder, from 1."""
        return int(self.body["place"])

    @property
    def previous(self) -> str:
        """The hash of the link before it."""
        return str(self.body["previous"])

    @property
    def hash(self) -> str:
        """The hash it says it has."""
        return str(self.body["hash"])

    @property
    def kind(self) -> str:
        """What it seals: run, retired or accepted."""
        return str(self.body["kind"])

    @property
    def content(self) -> Mapping[str, Any]:
        """What was sealed."""
        found: Mapping[str, Any] = self.body["content"]
        return found

    @cached_property
    def folder(self) -> Folder:
        """The folder it was sealed in."""
        found = self.body["folder"]
        return Folder(*(str(found.get(name)) for name in ("id", "host", "path")))

    @cached_property
    def ledger(self) -> Seen | None:
        """The ledger it belongs in; None for a link that is kept in files only."""
        found = self.body.get("ledger")
        if not isinstance(found, dict) or not isinstance(found.get("id"), str):
            return None
        place = found.get("place")
        return Seen(found["id"], place if isinstance(place, int) else None, found.get("hash"))

    @property
    def run_id(self) -> str | None:
        """The run it seals; None for an entry of another kind."""
        found = self.content.get("run_id")
        return found if self.kind == RUN and isinstance(found, str) else None

    @property
    def key(self) -> str | None:
        """The fingerprint of the key it says it is signed with."""
        found = self.body.get("key")
        return found if isinstance(found, str) else None

    @cached_property
    def is_sound(self) -> bool:
        """Whether its hash is that of what it says, written as it must be."""
        return _hash(self.body) == self.hash and dumped(self.body) == self.line

    def is_signed(self, trust: Trust) -> bool:
        """Return whether its signature is that of the key it names, and the key is a trusted one."""
        signature = self.body.get("signature")
        return self.key is not None and isinstance(signature, str) and trust.vouches(
            self.key, signature, _signed(self.hash)
        )  # fmt: skip


def make(entry: Entry, standing: Standing, key: SigningKey | None, at: datetime | None = None) -> Link:
    """Return the link of an entry at a place of the chain, sealed now unless `at` says otherwise.

    Raises InvalidInput for content that has no canonical form.
    """
    body: dict[str, Any] = {
        "v": VERSION,
        "kind": entry.kind,
        "place": standing.place,
        "previous": standing.previous,
        "folder": vars(standing.folder),
        "ledger": None if standing.ledger is None else vars(standing.ledger),
        "sealed_at": moment(at or datetime.now(UTC)),
        "sealed_by": entry.by,
        "content": dict(entry.content),
        "key": None if key is None else key.fingerprint,
    }
    canonical(body)
    body["hash"] = _hash(body)
    body["signature"] = None if key is None else key.sign(_signed(body["hash"]))
    return Link(body, canonical(body))


def read(line: bytes) -> Link | None:
    """Return the link of a line (without its line break), None for a line that is no link."""
    try:
        body = json.loads(line.decode("utf-8"), parse_float=_refuse, parse_constant=_refuse)
        if b"\\u" in line:
            # Half of a character can be written as an escape only; nothing could print or hash it.
            dumped(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or not all(isinstance(body.get(name), kind) for name, kind in _SHAPE.items()):
        return None
    return None if isinstance(body["place"], bool) or body["place"] < 1 else Link(body, line)


def sound(line: bytes) -> Link | None:
    """Return the link of a line whose hash is right, None for any other line."""
    found = read(line)
    return found if found is not None and found.is_sound else None


def _hash(body: Mapping[str, Any]) -> str:
    return digest(dumped({name: value for name, value in body.items() if name not in _UNHASHED}))


def _signed(found: str) -> bytes:
    # The purpose stands in what is signed, so that a signature made for one thing serves for no other.
    return b"genonaut record 1 " + found.encode("utf-8")


def _refuse(text: str) -> Any:
    raise ValueError(text)
