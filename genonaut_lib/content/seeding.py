"""Load a content file into the legacy schema: streamed, by COPY, in one transaction.

A load either happened or did not, however it was interrupted, and the same file is loaded once.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from genonaut_lib.content.lines import Position, Reject, parse_line
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import AlreadyMigrated, InvalidInput
from genonaut_lib.vocabulary import ContentSource

DEBIAN = "debian_packages.jsonl.gz"


@dataclass(frozen=True)
class LoadResult:
    """What a load did. `repeated` means the file was loaded before and nothing was done now."""

    dataset: str
    items_loaded: int
    lines_rejected: int
    rejects_file: Path | None
    repeated: bool = False


@dataclass(frozen=True)
class ContentFile:
    """A `.jsonl` or `.jsonl.gz` file to load: its name and how to open it."""

    name: str
    open: Callable[[], BinaryIO]

    def lines(self) -> Iterator[bytes]:
        """Yield the lines with their ends; raise InvalidInput for a gzip file that is broken or cut."""
        with self.open() as raw, contextlib.ExitStack() as stack:
            stream = stack.enter_context(gzip.open(raw)) if self.name.endswith(".gz") else raw
            try:
                yield from stream
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise InvalidInput(f"{self.name} is not a whole gzip file: {error}.") from error

    def digest(self) -> tuple[str, int]:
        """Return SHA-256 of the unpacked content and the number of lines; reads the file once."""
        digest, total = hashlib.sha256(), 0
        for line in self.lines():
            digest.update(line)
            total += 1
        return digest.hexdigest(), total


def content_file(path: Path) -> ContentFile:
    """Return the file at `path`; raise InvalidInput unless it is a readable .jsonl or .jsonl.gz."""
    if not path.is_file():
        raise InvalidInput(f"There is no file {path}.")
    if len(path.name) > 100:
        raise InvalidInput(f"The file name {path.name[:40]}... is longer than 100 characters; rename the file.")
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise InvalidInput(f"{path.name} is neither .jsonl nor .jsonl.gz.", hint="One JSON object a line.")
    return ContentFile(path.name, lambda: path.open("rb"))


def debian_file() -> ContentFile:
    """Return the Debian package set shipped with the package: 29,795 real items."""
    packaged = resources.files("genonaut_lib.data").joinpath(DEBIAN)
    return ContentFile(DEBIAN, lambda: cast("BinaryIO", packaged.open("rb")))


def load(
    connection: Connection,
    file: ContentFile,
    rejects_folder: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> LoadResult:
    """Load every good line of a file; bad ones go to `<name>.rejects.jsonl` with line number and reason.

    `report` is called with (lines done, lines in all). Raises AlreadyMigrated when the database has
    left the legacy schema, InvalidInput for a file that cannot be read.
    """
    digest, total = file.digest()
    identity = {"dataset": file.name, "digest": digest}
    with connection.transaction():
        known = found_before(connection, identity)
        if known is not None:
            return LoadResult(file.name, *known, None, repeated=True)
        require_legacy(connection)
        connection.execute(block("content", "stage").sql())
        rejects = _copy(connection, file, _Rejects(file, rejects_folder), total, report)
        loaded = insert_staged(connection, file.name)
        values = {**identity, "items_loaded": loaded, "lines_rejected": rejects.count}
        connection.execute(block("ledger", "record_load").sql(), values)
    analyze(connection)
    return LoadResult(file.name, loaded, rejects.count, rejects.path if rejects.count else None)


def found_before(connection: Connection, identity: Mapping[str, str]) -> tuple[int, int] | None:
    """Return items and rejects of an earlier load of the same data, None when there was none.

    Holds a lock until the transaction ends, so that two loads of one file at once make one.
    """
    connection.execute(block("ledger", "lock_load").sql(), identity)
    row = connection.execute(block("ledger", "find_load").sql(), identity).fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


def require_legacy(connection: Connection) -> None:
    """Raise AlreadyMigrated unless `content_items.tags` still is the JSONB array of names."""
    row = connection.execute(
        block("catalog", "column_type").sql(), {"relation": "content_items", "column": "tags"}
    ).fetchone()
    if row is None or row[0] != "jsonb":
        raise AlreadyMigrated(
            "This command writes legacy content, and this gallery has left the legacy schema.",
            hint="Use a fresh database: another --env, or `genonaut down` and an empty state folder.",
        )


def insert_staged(connection: Connection, dataset: str) -> int:
    """Move staged rows into users and the two content tables, in file order; return how many."""
    connection.execute(block("content", "insert_users").sql(), {"dataset": dataset})
    loaded = 0
    for source in ContentSource:
        statement = block("content", "insert_items").sql(table=source.table)
        loaded += connection.execute(statement, {"dataset": dataset, "source": source.junction}).rowcount
    return loaded


def analyze(connection: Connection) -> None:
    """Let the planner see what was loaded."""
    for table in ("users", "content_items", "content_items_auto"):
        connection.execute(block("upkeep", "analyze").sql(table=table))


class _Rejects:
    """The rejects file, opened with the first bad line, so that any number of them takes no memory."""

    def __init__(self, file: ContentFile, folder: Path) -> None:
        self.count = 0
        self.path = folder / f"{file.name.removesuffix('.gz').removesuffix('.jsonl')}.rejects.jsonl"
        self._out: TextIO | None = None

    def add(self, reject: Reject) -> None:
        if self._out is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._out = self.path.open("w", encoding="utf-8")
        self._out.write(json.dumps(vars(reject)) + "\n")
        self.count += 1

    def close(self) -> None:
        if self._out is not None:
            self._out.close()


def _copy(
    connection: Connection, file: ContentFile, rejects: _Rejects, total: int, report: Callable[[int, int], None]
) -> _Rejects:
    with (
        contextlib.closing(rejects),
        connection.cursor() as cursor,
        cursor.copy(block("content", "copy_staged").sql()) as copy,
    ):
        for number, text in enumerate(file.lines(), start=1):
            if text.strip():
                row = parse_line(text.rstrip(b"\r\n"), Position(number, total))
                if isinstance(row, Reject):
                    rejects.add(row)
                else:
                    copy.write_row(row)
            if number % 1000 == 0 or number == total:
                report(number, total)
    return rejects
