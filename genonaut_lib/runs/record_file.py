"""The file of a record: replaced as a whole or not at all, whatever happens to process, disk or machine.

Papermill loads this module while it is being imported itself, so nothing of papermill is imported here.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genonaut_lib.db.processes import alive
from genonaut_lib.errors import MissingPrivilege, NoRoom

SCHEME = "record://"
ROOM_BYTES = 1_000_000
"""What must be free for a run to start: a few times what a notebook without large outputs takes."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DRAFT, _SPARE = "draft", "spare"


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file so that a reader, a kill or a crash finds the old content or the new one, whole.

    Raises OSError; the old content is then still there, and no draft of the new one.
    """
    draft = _companion(path, _DRAFT)
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def read_record(path: Path) -> dict[str, Any] | None:
    """Return a record as JSON, None where there is no file; raise ValueError for a file that is no JSON object."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no notebook.")  # noqa: TRY004  # its content is wrong, not the argument
    return found


def status_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a record says of its run: `status` and, of one that did not end well, `failure`."""
    found = record.get("metadata", {}).get("genonaut", {})
    return found if isinstance(found, dict) else {}


def mend(record: dict[str, Any], status: str, failure: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a record that says how its run ended: the cell that was at work did not complete."""
    metadata = record.setdefault("metadata", {})
    metadata["genonaut"] = {**status_of(record), "status": status, "failure": failure and dict(failure)}
    metadata.setdefault("papermill", {})["exception"] = True
    for cell in record.get("cells", []):
        own = cell.get("metadata", {}).get("papermill", {})
        if own.get("status") == "running":
            own.update(status="failed", exception=True)
    return record


def noted(record: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return a record that says one thing more of its run."""
    record.setdefault("metadata", {})["genonaut"] = {**status_of(record), name: value}
    return record


def as_bytes(record: Mapping[str, Any]) -> bytes:
    """Return a record as nbformat writes it: sorted keys, one blank to indent, lines kept apart."""
    return json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False, separators=(",", ": ")).encode()


def require_room(folder: Path) -> None:
    """Make the folder of a record; raise NoRoom or MissingPrivilege where a record could not be written."""
    room = Spare(folder / "room")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            room.hold(ROOM_BYTES)
        finally:
            room.release()
    except OSError as error:
        if error.errno in FULL:
            raise NoRoom(f"No room for a record in {folder}: {error.strerror}.", hint="Free space there.") from None
        raise MissingPrivilege(f"No record can be written in {folder}: {error.strerror}.") from None


class Spare:
    """Room on the disk for the last words of a record, held by a file beside it.

    A full disk would otherwise leave a record that says `running` for ever.
    """

    def __init__(self, record: Path) -> None:
        self._file = _companion(record, _SPARE)
        self._size = 0

    def hold(self, size: int) -> None:
        """Hold at least `size` bytes and a little more; raise OSError where the disk has not got them."""
        if self._size < size:
            _reserve(self._file, size + ROOM_BYTES // 10)
            self._size = size + ROOM_BYTES // 10

    def release(self) -> None:
        """Give the room back."""
        self._file.unlink(missing_ok=True)
        self._size = 0


def sweep(folder: Path) -> list[Path]:
    """Remove the drafts and spares in a folder whose process is gone; return them.

    Files of other machines are left alone: whether their process lives cannot be seen from here.
    """
    host = glob.escape(_host())
    left = [file for kind in (_DRAFT, _SPARE) for file in folder.glob(f".*.{host}.*.{kind}") if _is_left(file)]
    for file in left:
        file.unlink(missing_ok=True)
    return left


class RecordHandler:
    """Papermill's door to the file: what it writes itself replaces the record as a whole, too.

    Serves addresses that begin with `record://`, and paths that the engine registers it for.
    """

    def read(self, path: str) -> str:
        """Return the text of a notebook."""
        return path_of(path).read_text(encoding="utf-8")

    def listdir(self, path: str) -> list[str]:
        """Return the paths in a folder."""
        return [str(found) for found in path_of(path).iterdir()]

    def write(self, buf: str, path: str) -> None:
        """Replace a notebook by the text `buf`."""
        write_atomically(path_of(path), buf.encode())

    def pretty_path(self, path: str) -> str:
        """Return the path as people write it."""
        return str(path_of(path))


HANDLER = RecordHandler()


def path_of(address: str) -> Path:
    """Return the file that an output address of papermill means."""
    return Path(address.removeprefix(SCHEME))


def _companion(path: Path, kind: str) -> Path:
    """A file beside another one that says whose it is, so that the leftovers of a killed process can be told."""
    return path.with_name(f".{path.name}.{_host()}.{os.getpid()}.{kind}")


def _host() -> str:
    return socket.gethostname().replace("/", "_")


def _is_left(file: Path) -> bool:
    owner = file.name.rsplit(".", 2)[1]
    return owner.isdigit() and not alive(int(owner))


def _reserve(file: Path, size: int) -> None:
    with file.open("ab") as handle:
        os.posix_fallocate(handle.fileno(), 0, size)


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
