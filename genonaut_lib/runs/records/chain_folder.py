"""The files of the chain in one environment's folder, and how they are written so that a kill leaves them whole.

chain.jsonl             one link a line, appended only
chain.head.json         the newest place and hash, signed on its own: a cut end of the chain shows by it
chain.waiting/          links that are not yet in every place they belong in; the next start takes them there
chain.keys/             public keys, by fingerprint
chain.lock              held while a link is appended
<record>.manifest.json  a run's link once more, beside its record
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genonaut_lib.errors import InvalidInput, RecordsBusy
from genonaut_lib.runs import file_lock
from genonaut_lib.runs.records import links
from genonaut_lib.runs.records.links import Link
from genonaut_lib.runs.records.manifest import canonical, manifest_path
from genonaut_lib.runs.records.signing import SigningKey, Trust, public_keys

CHAIN, HEAD, WAITING, KEYS, LOCK = "chain.jsonl", "chain.head.json", "chain.waiting", "chain.keys", "chain.lock"
LOCK_WAIT_S = 60.0


@dataclass(frozen=True)
class Lines:
    """The lines of the chain's file, without line breaks; `torn` is what stands behind the last line break."""

    whole: tuple[bytes, ...] = ()
    torn: bytes = b""

    def newest(self) -> Link | None:
        """Return the last link whose hash is right."""
        return next((link for line in reversed(self.whole) if (link := links.sound(line))), None)

    def of_run(self, run_id: str) -> Link | None:
        """Return the link that seals a run, or None."""
        wanted = canonical(run_id)
        found = (links.sound(line) for line in self.whole if wanted in line)
        return next((link for link in found if link is not None and link.run_id == run_id), None)


@dataclass(frozen=True)
class Head:
    """What the head file says is the newest link: its folder's id, place, hash and run; `signature` is over these."""

    folder: str
    place: int
    hash: str
    run_id: str | None
    key: str | None
    signature: str | None = None

    def is_signed(self, trust: Trust) -> bool:
        """Return whether a trusted key vouches for it."""
        if self.key is None or self.signature is None:
            return False
        return trust.vouches(self.key, self.signature, self.signed())

    def signed(self) -> bytes:
        """Return what the signature is over; its purpose stands in it, so that it serves for nothing else."""
        return b"genonaut head 1 " + canonical({**vars(self), "signature": None})


@contextlib.contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the folder's lock for a block; `shared` for one that only reads, which needs no right to write.

    Raises RecordsBusy when others hold it for a minute.
    """
    if shared and not (folder / LOCK).exists():
        yield
        return
    if not shared:
        folder.mkdir(parents=True, exist_ok=True)
    busy = RecordsBusy(hint="Look for a genonaut process that hangs; its end gives the lock back.")
    with file_lock.held(folder / LOCK, LOCK_WAIT_S, busy, shared=shared):
        yield


def read_lines(folder: Path) -> Lines:
    """Return the lines of the chain's file, none when there is no file."""
    path = folder / CHAIN
    if not path.exists():
        return Lines()
    *whole, torn = path.read_bytes().split(b"\n")
    return Lines(tuple(whole), torn)


def append(folder: Path, link: Link) -> None:
    """Append a link to the chain's file, and see it on the disk.

    A torn last line that is the beginning of this very link is completed. Any other is left as it is,
    in a line of its own: what somebody wrote there is evidence.
    """
    torn = read_lines(folder).torn
    start = link.line[len(torn) :] if link.line.startswith(torn) else b"\n" + link.line
    is_new = not (folder / CHAIN).exists()
    opened = os.open(folder / CHAIN, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        _write(opened, start + b"\n")
        os.fsync(opened)
    finally:
        os.close(opened)
    if is_new:
        _sync_folder(folder)


def waiting(folder: Path) -> list[Link]:
    """Return the links that wait to be taken to where they belong, the earliest first."""
    if not (folder / WAITING).is_dir():
        return []
    found = (links.sound(path.read_bytes()) for path in (folder / WAITING).glob("*.json"))
    return sorted((link for link in found if link is not None), key=lambda link: link.place)


def keep_waiting(folder: Path, link: Link) -> None:
    """Write a link down before it goes anywhere else: from here on no kill can lose it."""
    _make_folder(folder / WAITING)
    write_atomically(_waiting_path(folder, link), link.line)


def no_longer_waiting(folder: Path, link: Link) -> None:
    """Take a link off the waiting ones: it is wherever it belongs."""
    _waiting_path(folder, link).unlink(missing_ok=True)


def write_manifest(folder: Path, link: Link) -> None:
    """Write a run's link beside its record, unless it lies there already."""
    path = folder / manifest_path(link.content)
    if path.exists() and path.read_bytes() == link.line:
        return
    _make_folder(path.parent)
    write_atomically(path, link.line)


def write_head(folder: Path, link: Link, key: SigningKey | None) -> None:
    """Write down which link is the newest, signed when there is a key, and keep the public key beside it."""
    head = Head(link.folder.id, link.place, link.hash, link.run_id, None if key is None else key.fingerprint)
    signature = None if key is None else key.sign(head.signed())
    write_atomically(folder / HEAD, canonical({**vars(head), "signature": signature}))
    if key is not None and not (kept := folder / KEYS / f"{key.fingerprint}.pem").exists():
        _make_folder(folder / KEYS)
        write_atomically(kept, key.public_pem)


def read_head(folder: Path) -> Head | None:
    """Return what the head file says, None when there is none, or none that can be read."""
    try:
        body = json.loads((folder / HEAD).read_bytes())
        head = Head(**body)
        head.signed()
    except (FileNotFoundError, ValueError, TypeError, RecursionError, InvalidInput):
        return None
    shape = (head.folder, str), (head.place, int), (head.hash, str)
    return head if all(isinstance(value, kind) for value, kind in shape) else None


def own_trust(folder: Path) -> Trust:
    """Return the trust in the public keys that lie beside the chain."""
    return Trust(public_keys(path.read_bytes() for path in sorted((folder / KEYS).glob("*.pem"))))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file by temporary file, fsync and rename, so that a kill leaves the old one or the new one."""
    draft = path.with_name(f"{path.name}.draft")
    opened = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        _write(opened, data)
        os.fsync(opened)
    finally:
        os.close(opened)
    draft.replace(path)
    _sync_folder(path.parent)


def _waiting_path(folder: Path, link: Link) -> Path:
    return folder / WAITING / f"{link.place:09}-{link.hash[:16]}.json"


def _write(opened: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(opened, left) :]


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
