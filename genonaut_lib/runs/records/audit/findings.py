"""What a verification of the chain found, and the chain as it was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from genonaut_lib.migration.approvals import Approval
from genonaut_lib.runs.records import links
from genonaut_lib.runs.records.chain_folder import Head, Lines
from genonaut_lib.runs.records.ledger_records import Row, RunRow
from genonaut_lib.runs.records.links import Link
from genonaut_lib.runs.records.signing import Trust


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it was sealed.

    `kind` is edited, deleted, moved, cut, inserted, forged, replaced or unsealed; `where` is chain, head, waiting,
    manifest, ledger, runs, approvals, or the file's path. `run_id` is None where nothing is left that tells the run.
    """

    kind: str
    where: str
    sentence: str
    place: int | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class Findings:
    """What a verification found: problems, and remarks that are none.

    `records` counts the links that were verified, `retired` the runs whose files were removed by policy,
    `elsewhere` the ledger's records of other folders. `head` is the hash of the newest link: noted down
    elsewhere, it tells later whether the chain still holds it. `keys` are fingerprints of the keys that signed.
    """

    records: int
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]
    head: str | None
    retired: int = 0
    elsewhere: int = 0
    keys: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether everything is as it was sealed."""
        return not self.problems


@dataclass(frozen=True)
class Line:
    """A line of the chain's file: its number from 1, its bytes, and the link it holds if it holds one."""

    number: int
    text: bytes
    link: Link | None

    @property
    def is_sound(self) -> bool:
        """Whether it is a link with the right hash."""
        return self.link is not None and self.link.is_sound


@dataclass(frozen=True)
class Witness:
    """Another copy of a link, and where it was found: ledger, manifest or waiting."""

    source: str
    link: Link


@dataclass(frozen=True)
class LedgerCopy:
    """What one ledger holds: its id, its rows, its rows of `workbench.runs`, and its approvals of plans."""

    id: str
    rows: tuple[Row, ...]
    runs: tuple[RunRow, ...]
    approvals: tuple[Approval, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """The chain as it was read in one go: the folder's files, and the ledger's copy if there is one.

    `manifests` are those below the folder by path; `has_database` says that one was asked, ledger or not.
    """

    lines: Lines
    head: Head | None
    has_head: bool
    waiting: tuple[Link, ...]
    manifests: Mapping[str, bytes]
    place: tuple[str, str]
    ledger: LedgerCopy | None
    trust: Trust
    has_database: bool = False

    @cached_property
    def read(self) -> tuple[Line, ...]:
        """The lines of the file; a torn last one is the last."""
        texts = (*self.lines.whole, self.lines.torn) if self.lines.torn else self.lines.whole
        return tuple(Line(number, text, self._link(text)) for number, text in enumerate(texts, start=1))

    @cached_property
    def entered(self) -> tuple[tuple[Row, Link | None], ...]:
        """The ledger's rows, each with the link in its body, None where that is none."""
        rows = self.ledger.rows if self.ledger is not None else ()
        return tuple((row, self._link(row.body.encode("utf-8", "surrogatepass"))) for row in rows)

    @cached_property
    def sound(self) -> dict[int, Link]:
        """The links of the file with the right hash, by place in ascending order; of several, the first."""
        found: dict[int, Link] = {}
        for line in self.read:
            if line.link is not None and line.is_sound:
                found.setdefault(line.link.place, line.link)
        return dict(sorted(found.items()))

    @cached_property
    def folder_id(self) -> str | None:
        """The id of this folder: the one most links name, else the head's, else what the ledger knows the path by."""
        named = Counter(line.link.folder.id for line in self.read if line.link is not None)
        if named:
            return named.most_common(1)[0][0]
        return self.head.folder if self.head is not None else self._folder_of_path()

    @cached_property
    def witnesses(self) -> dict[int, list[Witness]]:
        """Every other copy of a link of this folder, by place; only copies with the right hash count."""
        found: dict[int, list[Witness]] = {}
        for witness in self._copies():
            if witness.link.folder.id == self.folder_id and witness.link.is_sound:
                found.setdefault(witness.link.place, []).append(witness)
        return found

    @cached_property
    def best(self) -> dict[int, Link]:
        """The most believable link of each place: the file's, unless two other copies agree on another one."""
        found = dict(self.sound)
        for place, copies in self.witnesses.items():
            hashes = Counter(copy.link.hash for copy in copies)
            chosen, count = hashes.most_common(1)[0]
            if place not in found or (found[place].hash != chosen and count > 1):
                found[place] = next(copy.link for copy in copies if copy.link.hash == chosen)
        return dict(sorted(found.items()))

    @cached_property
    def _read_already(self) -> dict[bytes, Link | None]:
        return {}

    def _link(self, text: bytes) -> Link | None:
        """Return the link of a text; the same text in file, manifest and ledger is read, and hashed, once."""
        if text not in self._read_already:
            self._read_already[text] = links.read(text)
        return self._read_already[text]

    def _copies(self) -> Iterable[Witness]:
        yield from (Witness("ledger", link) for _, link in self.entered if link is not None)
        found = (self._link(text) for text in self.manifests.values())
        yield from (Witness("manifest", link) for link in found if link is not None)
        yield from (Witness("waiting", link) for link in self.waiting)

    def _folder_of_path(self) -> str | None:
        found = (link.folder for _, link in reversed(self.entered) if link is not None)
        return next((folder.id for folder in found if (folder.host, folder.path) == self.place), None)
