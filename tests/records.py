"""Chains made to order: records with their files, sealed without the fsyncs that a real sealing takes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from genonaut_lib.runs.records import chain_folder, links, manifest
from genonaut_lib.runs.records.audit.findings import LedgerCopy
from genonaut_lib.runs.records.ledger_records import Row, RunRow, row_hash
from genonaut_lib.runs.records.links import NOTHING, RUN, Entry, Folder, Link, Seen, Standing
from genonaut_lib.runs.records.manifest import Manifest
from genonaut_lib.runs.records.signing import SigningKey

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
LEDGER = "1" * 32
PARAMETERS = {"environment": "test", "dry_run": False, "share": 0.25, "limit": 1e20}


def new_key() -> SigningKey:
    return SigningKey(Ed25519PrivateKey.generate())


def manifest_of(folder: Path, number: int, **changes: object) -> Manifest:
    """Write the files of a run and return its manifest, as the engine would hand it to `seal`."""
    at = FIRST + timedelta(minutes=number)
    run_id = uuid.uuid4()
    output = folder / at.strftime("%Y-%m-%d") / f"{at:%H%M%S}_10_seed_tags_{run_id.hex[:6]}.ipynb"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(f'{{"cells": [], "number": {number}}}')
    output.with_suffix(".html").write_text(f"<p>{number}</p>")
    made = Manifest(
        run_id, "10_seed_tags", "ok", "ada@host", manifest.parameters_digest(PARAMETERS), at, at + timedelta(seconds=5),
        "0f" * 32, manifest.below(folder, output), manifest.record_files(folder, output),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Built:
    """A chain as it was built: its folder, its links in order, the ledger's copy of it."""

    folder: Path
    links: list[Link]
    ledger: LedgerCopy

    def run(self, place: int) -> str:
        """The run sealed at a place."""
        return str(self.links[place - 1].run_id)


def build(folder: Path, count: int, key: SigningKey | None = None) -> Built:
    """Return a chain of `count` records that is whole in files and ledger."""
    folder.mkdir(parents=True, exist_ok=True)
    place = Folder(uuid.uuid4().hex, "host", str(folder))
    made: list[Link] = []
    rows: list[Row] = []
    runs: list[RunRow] = []
    for number in range(1, count + 1):
        told = manifest_of(folder, number)
        previous = made[-1].hash if made else NOTHING
        seen = Seen(LEDGER, number - 1, rows[-1].hash if rows else NOTHING)
        link = links.make(Entry(RUN, told.content(), "ada@host"), Standing(place, number, previous, seen), key)
        (folder / manifest.manifest_path(link.content)).write_bytes(link.line)
        made.append(link)
        rows.append(row_of(link, number, rows[-1].hash if rows else NOTHING))
        runs.append(run_row(told))
    (folder / chain_folder.CHAIN).write_bytes(b"".join(link.line + b"\n" for link in made))
    chain_folder.write_head(folder, made[-1], key)
    return Built(folder, made, LedgerCopy(LEDGER, tuple(rows), tuple(runs)))


def row_of(link: Link, place: int, previous: str) -> Row:
    """Return the ledger's row of a link."""
    found = row_hash(LEDGER, place, previous, link.hash)
    run_id = uuid.UUID(link.run_id) if link.run_id else None
    return Row(
        place, previous, found, link.hash, link.folder.id, link.place, link.kind, run_id, link.line.decode()
    )  # fmt: skip


def run_row(told: Manifest) -> RunRow:
    """Return the row of workbench.runs of a run."""
    return RunRow(
        told.run_id, told.notebook, told.outcome, told.actor, PARAMETERS, told.notebook_digest, told.output,
        told.pipeline, told.step, told.started_at, told.ended_at,
    )  # fmt: skip


def rehashed(link: Link, **changes: object) -> Link:
    """Return a link with fields changed and its hash made right again, as one without the key would."""
    body = {**link.body, **changes}
    body["hash"] = manifest.digest(
        manifest.canonical({name: value for name, value in body.items() if name not in ("hash", "signature")})
    )
    return Link(body, manifest.canonical(body))
