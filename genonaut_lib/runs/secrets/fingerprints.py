"""The key that fingerprints of hidden values are taken with.

Two records can be compared when their fingerprints were taken with one key. It is, whichever there is first:

1. the variable `GENONAUT_FINGERPRINT_KEY`, 32 characters or more;
2. the row `fingerprint` of `workbench.service_keys`, so all machines that work on a database share it;
3. the file `fingerprint.key` beside the embedded servers' data, random, readable by its owner only;
4. where such a file cannot be written, a random key of this process, whose marks say nothing to other records.

The table comes with the gallery's statistics (notebook 50); the first run after that puts the file's key
into it, so fingerprints stay what they were.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidSettings
from genonaut_lib.settings import state_folder

VARIABLE = "GENONAUT_FINGERPRINT_KEY"
SHORTEST = 32
FILE = "fingerprint.key"
ROW = "fingerprint"
_PASSING = secrets.token_bytes(SHORTEST)


def load_key(connection: Connection | None) -> bytes:
    """Return the key for a database, or this machine's where none is given.

    Raises InvalidSettings for a variable that is too short.
    """
    given = os.environ.get(VARIABLE)
    if given:
        if len(given) < SHORTEST:
            raise InvalidSettings(f"{VARIABLE} needs at least {SHORTEST} characters.", hint="Set it to random text.")
        return given.encode("utf-8", "surrogateescape")
    return (_shared_key(connection) if connection else None) or _own_key()


def kept_keys(connection: Connection) -> list[bytes]:
    """Return all keys the database keeps that this user may read; they are secrets as well."""
    return list(_keys(connection).values()) if _rights(connection)[0] else []


def _shared_key(connection: Connection) -> bytes | None:
    """Return the database's key, put there if need be; None where it cannot keep one."""
    may_read, may_add = _rights(connection)
    if not may_read:
        return None
    key = _keys(connection).get(ROW)
    if key is None and may_add:
        connection.execute(block("fingerprints", "keep_key").sql(), {"fingerprint_key": _own_key()})
        key = _keys(connection).get(ROW)
    return key


def _rights(connection: Connection) -> tuple[bool, bool]:
    row = connection.execute(block("fingerprints", "rights_on_keys").sql()).fetchone()
    assert row is not None
    return bool(row[0]), bool(row[1])


def _keys(connection: Connection) -> dict[str, bytes]:
    rows = connection.execute(block("fingerprints", "keys").sql()).fetchall()
    return {str(name): bytes(key) for name, key in rows}


def _own_key() -> bytes:
    """Return this machine's key, made on first use; of two starts at once, the one that links first makes it."""
    file = state_folder() / FILE
    if not file.exists():
        if not _may_write(file.parent):
            return _PASSING
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f"{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
        _write_private(draft, secrets.token_bytes(SHORTEST))
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
        draft.unlink()
    return file.read_bytes()


def _may_write(folder: Path) -> bool:
    return os.access(next(place for place in (folder, *folder.parents) if place.exists()), os.W_OK)


def _write_private(file: Path, content: bytes) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
