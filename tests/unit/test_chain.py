"""The chain of records names what was done to it: a thousand random tamperings, and the ones worth a name."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pytest

from genonaut_lib.errors import InvalidInput, InvalidSettings, RecordsBusy
from genonaut_lib.runs.records import chain, chain_folder, links, manifest, signing
from genonaut_lib.runs.records.audit.findings import Findings, LedgerCopy
from genonaut_lib.runs.records.audit.verification import gather, judge, verify
from genonaut_lib.runs.records.chain import Decision
from genonaut_lib.runs.records.signing import SigningKey, Trust
from genonaut_lib.settings import load_settings
from tests.records import Built, build, manifest_of, new_key, rehashed, row_of

TAMPERINGS = int(os.environ.get("TAMPERINGS", "1000"))
RECORDS = int(os.environ.get("RECORDS", "2000"))
LENGTH = 7
A_SECOND = 1_000


@dataclass
class Case:
    """A chain under attack: its lines, to be changed at will, and the ledger's copy."""

    built: Built
    dice: random.Random
    lines: list[bytes]
    ledger: LedgerCopy

    @property
    def folder(self) -> Path:
        return self.built.folder

    def place(self) -> int:
        return self.dice.randint(1, LENGTH)

    def manifest(self, place: int) -> Path:
        return self.folder / manifest.manifest_path(self.built.links[place - 1].content)

    def output(self, place: int) -> Path:
        return self.folder / str(self.built.links[place - 1].content["output"])

    def rows(self, **changes: object) -> None:
        self.ledger = replace(self.ledger, **changes)  # type: ignore[arg-type]


Expected = list[set[str]]
"""The runs a tampering must be named by: of each set at least one."""


def edit_line(case: Case) -> Expected:
    place = case.place()
    link = case.built.links[place - 1]
    field = case.dice.choice(["notebook", "outcome", "actor", "run_id", "ended_at", "git_commit", "late"])
    body = {**link.body, "content": {**link.content, field: f"other {case.dice.random()}"}}
    case.lines[place - 1] = manifest.canonical(body)
    return [{case.built.run(place)}]


def edit_frame(case: Case) -> Expected:
    place = case.place()
    body = dict(case.built.links[place - 1].body)
    field = case.dice.choice(["place", "previous", "sealed_at", "sealed_by", "key", "hash", "v", "folder"])
    body[field] = {"place": place + 3, "folder": {"id": "x"}, "v": 2}.get(field, "f" * 64)
    case.lines[place - 1] = manifest.canonical(body)
    return [{case.built.run(place)}]


def edit_line_and_hash(case: Case) -> Expected:
    place = case.place()
    link = case.built.links[place - 1]
    case.lines[place - 1] = rehashed(link, content={**link.content, "outcome": "failed"}).line
    return [{case.built.run(place)}]


def edit_all_copies_in_files(case: Case) -> Expected:
    """Whoever owns the folder: line, hash, manifest and all hashes behind; only ledger and signature tell."""
    place = case.place()
    previous = None
    for number in range(place, LENGTH + 1):
        link = case.built.links[number - 1]
        told = {**link.content, case.dice.choice(["actor", "run_id"]): "nobody"}
        made = rehashed(link, **({"content": told} if number == place else {"previous": previous}))
        case.lines[number - 1], previous = made.line, made.hash
        case.manifest(number).write_bytes(made.line)
    return [{case.built.run(place)}]


def flip_byte(case: Case) -> Expected:
    place = case.place()
    line = bytearray(case.lines[place - 1])
    at = case.dice.randrange(len(line))
    line[at] = (line[at] + case.dice.randint(1, 255)) % 256
    case.lines[place - 1] = bytes(line).replace(b"\n", b" ")
    return [{case.built.run(place)}]


def delete_line(case: Case) -> Expected:
    place = case.place()
    del case.lines[place - 1]
    return [{case.built.run(place)}]


def delete_everything_of_a_run(case: Case) -> Expected:
    place = case.place()
    del case.lines[place - 1]
    for path in (case.manifest(place), case.output(place), case.output(place).with_suffix(".html")):
        path.unlink()
    return [{case.built.run(place)}]


def cut_tail(case: Case) -> Expected:
    kept = case.dice.randint(0, LENGTH - 1)
    del case.lines[kept:]
    if case.dice.random() < 0.5:
        for place in range(kept + 1, LENGTH + 1):
            case.manifest(place).unlink()
    if case.dice.random() < 0.5 and kept:
        chain_folder.write_head(case.folder, case.built.links[kept - 1], None)
    return [{case.built.run(place)} for place in range(kept + 1, LENGTH + 1)]


def cut_within_a_line(case: Case) -> Expected:
    case.lines[-1] = case.lines[-1][: case.dice.randrange(1, len(case.lines[-1]) - 1)]
    return [{case.built.run(LENGTH)}]


def swap_lines(case: Case) -> Expected:
    one, other = sorted(case.dice.sample(range(1, LENGTH + 1), 2))
    case.lines[one - 1], case.lines[other - 1] = case.lines[other - 1], case.lines[one - 1]
    return [{case.built.run(one), case.built.run(other)}]


def move_line(case: Case) -> Expected:
    place = case.dice.randint(1, LENGTH - 2)
    case.lines.append(case.lines.pop(place - 1))
    return [{case.built.run(place)}]


def double_line(case: Case) -> Expected:
    place = case.place()
    case.lines.insert(case.dice.randint(0, LENGTH), case.lines[place - 1])
    return [{case.built.run(place)}]


def edit_output(case: Case) -> Expected:
    place = case.place()
    path = case.output(place).with_suffix(case.dice.choice([".ipynb", ".html"]))
    path.write_text(path.read_text() + " ")
    return [{case.built.run(place)}]


def delete_output(case: Case) -> Expected:
    place = case.place()
    case.output(place).with_suffix(case.dice.choice([".ipynb", ".html", ".manifest.json"])).unlink()
    return [{case.built.run(place)}]


def exchange_outputs(case: Case) -> Expected:
    one, other = case.dice.sample(range(1, LENGTH + 1), 2)
    texts = case.output(one).read_bytes(), case.output(other).read_bytes()
    case.output(one).write_bytes(texts[1])
    case.output(other).write_bytes(texts[0])
    return [{case.built.run(one)}, {case.built.run(other)}]


def edit_manifest(case: Case) -> Expected:
    place = case.place()
    text = case.manifest(place).read_bytes()
    case.manifest(place).write_bytes(text.replace(b'"late":false', b'"late":true'))
    return [{case.built.run(place)}]


def edit_row(case: Case) -> Expected:
    place = case.place()
    row = case.ledger.rows[place - 1]
    changes = case.dice.choice([
        {"body": row.body.replace('"ok"', '"no"')}, {"hash": "1" * 64}, {"record_hash": "1" * 64}, {"run_id": None},
        {"kind": "retired"}, {"folder_place": place + 100}, {"folder_id": "x"}, {"body": "nonsense"},
    ])  # fmt: skip
    rows = [*case.ledger.rows]
    rows[place - 1] = replace(row, **changes)  # type: ignore[arg-type]
    case.rows(rows=tuple(rows))
    return [{case.built.run(place)}]


def replace_row(case: Case) -> Expected:
    """Whoever switches triggers off: another body with all hashes of the table made right again."""
    place = case.place()
    rows = [*case.ledger.rows]
    link = case.built.links[place - 1]
    rows[place - 1] = row_of(
        rehashed(link, content={**link.content, "actor": "nobody"}), place, rows[place - 1].previous
    )
    for number in range(place, LENGTH):
        rows[number] = row_of(case.built.links[number], number + 1, rows[number - 1].hash)
    case.rows(rows=tuple(rows))
    return [{case.built.run(place)}]


def delete_row(case: Case) -> Expected:
    """Whoever switches triggers off: a row removed, the ones behind renumbered with right hashes, or left."""
    place = case.place()
    rows = [row for row in case.ledger.rows if row.place != place]
    if case.dice.random() < 0.5:
        for number in range(place - 1, LENGTH - 1):
            previous = rows[number - 1].hash if number else links.NOTHING
            rows[number] = row_of(case.built.links[number + 1], number + 1, previous)
    case.rows(rows=tuple(rows))
    return [{case.built.run(place)}]


def cut_rows(case: Case) -> Expected:
    kept = case.dice.randint(0, LENGTH - 1)
    case.rows(rows=case.ledger.rows[:kept])
    return [{case.built.run(place)} for place in range(kept + 1, LENGTH + 1)]


def edit_run(case: Case) -> Expected:
    place = case.place()
    changes = case.dice.choice([
        {"state": "failed"}, {"actor": "nobody"}, {"notebook": "x"}, {"parameters": {"dry_run": True}}, {"step": "x"}
    ])  # fmt: skip
    runs = [*case.ledger.runs]
    runs[place - 1] = replace(runs[place - 1], **changes)  # type: ignore[arg-type]
    case.rows(runs=tuple(runs))
    return [{case.built.run(place)}]


def delete_run(case: Case) -> Expected:
    place = case.place()
    case.rows(runs=case.ledger.runs[: place - 1] + case.ledger.runs[place:])
    return [{case.built.run(place)}]


ATTACKS: list[Callable[[Case], Expected]] = [
    edit_line, edit_frame, edit_line_and_hash, edit_all_copies_in_files, flip_byte, delete_line,
    delete_everything_of_a_run, cut_tail, cut_within_a_line, swap_lines, move_line, double_line, edit_output,
    delete_output, exchange_outputs, edit_manifest, edit_row, replace_row, delete_row, cut_rows, edit_run, delete_run,
]  # fmt: skip
FILES_ALONE = {
    edit_line, edit_frame, edit_line_and_hash, flip_byte, delete_line, swap_lines, move_line, double_line, edit_output,
    delete_output, exchange_outputs, edit_manifest, cut_within_a_line,
}  # fmt: skip
"""Attacks after which the files alone still tell the run; signed or not."""


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return new_key()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Built:
    return build(tmp_path_factory.mktemp("signed"), LENGTH, key)


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("unsigned"), LENGTH)


def judged(built: Built, ledger: LedgerCopy | None, trust: Trust | None = None) -> Findings:
    """Return the findings on the folder as it is now, beside a ledger's copy."""
    evidence = replace(gather(None, built.folder, trust), ledger=ledger, has_database=ledger is not None)
    return judge(evidence, built.folder)


def restored(folder: Path) -> Callable[[], None]:
    """Return what puts a folder back to how it is now."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def restore() -> None:
        for path, text in before.items():
            if not path.exists() or path.read_bytes() != text:
                path.write_bytes(text)

    return restore


def named(findings: Findings) -> set[str]:
    return {problem.run_id for problem in findings.problems if problem.run_id}


def attacked(built: Built, attack: Callable[[Case], Expected], seed: int, *, alone: bool) -> str | None:
    """Attack a chain and verify it; return what was not named, None when everything was."""
    lines = (built.folder / chain_folder.CHAIN).read_bytes().split(b"\n")[:-1]
    case = Case(built, random.Random(seed), lines, built.ledger)
    expected = attack(case)
    (built.folder / chain_folder.CHAIN).write_bytes(b"".join(line + b"\n" for line in case.lines))
    findings = judged(built, None if alone else case.ledger)
    missed = [runs for runs in expected if not runs & named(findings)]
    return f"{attack.__name__}, seed {seed}, alone {alone}: {missed}, {findings.problems}" if missed else None


def test_a_chain_nobody_touched_holds(built: Built, unsigned: Built) -> None:
    """Neither files alone nor files beside the ledger give a false alarm."""
    for one in (built, unsigned):
        for ledger in (one.ledger, None):
            findings = judged(one, ledger)
            assert (findings.problems, findings.records) == ((), LENGTH)


@pytest.mark.parametrize("signed", [True, False])
def test_random_tamperings_are_all_named_with_the_right_run(built: Built, unsigned: Built, signed: bool) -> None:
    """Half of a thousand each, over lines, files, head and ledger; what is left of a run still names it."""
    chosen = built if signed else unsigned
    restore, start = restored(chosen.folder), random.randrange(10_000_000)
    missed = []
    for number in range(TAMPERINGS // 2):
        attack = ATTACKS[number % len(ATTACKS)]
        missed.append(attacked(chosen, attack, start + number, alone=attack in FILES_ALONE and number % 2 == 0))
        restore()
    assert [one for one in missed if one] == []


def test_a_forger_without_the_key_is_named_by_the_files_alone(built: Built) -> None:
    """Every hash made right again, every manifest rewritten: only the signatures say where it began."""
    restore = restored(built.folder)
    places = []
    for place in range(1, LENGTH + 1):
        case = Case(built, random.Random(place), [link.line for link in built.links], built.ledger)
        case.place = lambda place=place: place  # type: ignore[method-assign]
        edit_all_copies_in_files(case)
        (built.folder / chain_folder.CHAIN).write_bytes(b"".join(line + b"\n" for line in case.lines))
        found = {problem.place for problem in verify(None, built.folder).problems if problem.kind == "forged"}
        places.append(found == {*range(place, LENGTH + 1)})
        restore()
    assert places == [True] * LENGTH


def test_a_cut_tail_is_seen_by_the_head_alone(built: Built) -> None:
    """No ledger, no manifests, no outputs left of the end: the signed head still names the newest run."""
    restore = restored(built.folder)
    path = built.folder / chain_folder.CHAIN
    path.write_bytes(b"".join(link.line + b"\n" for link in built.links[:5]))
    for link in built.links[5:]:
        for ending in (".ipynb", ".html", ".manifest.json"):
            (built.folder / str(link.content["output"])).with_suffix(ending).unlink()
    findings = verify(None, built.folder)
    chain_folder.write_head(built.folder, built.links[4], None)
    forged = verify(None, built.folder)
    restore()
    assert [(problem.kind, problem.run_id) for problem in findings.problems] == [("cut", built.run(LENGTH))]
    assert [problem.kind for problem in forged.problems] == ["forged"]


def test_a_folder_put_back_to_an_older_state_is_seen_by_a_noted_head(tmp_path: Path, key: SigningKey) -> None:
    """An old copy of everything is true in itself; a hash noted elsewhere is not in it."""
    built = build(tmp_path / "now", 3, key)
    noted = verify(None, built.folder).head
    old = build(tmp_path / "old", 2, key)
    assert [problem.kind for problem in verify(None, old.folder, noted=noted).problems] == ["cut"]
    assert verify(None, built.folder, noted=built.links[1].hash).holds


def test_another_public_key_believes_nothing(built: Built) -> None:
    """With the key given by the auditor, a chain signed by somebody else does not hold."""
    stranger = Trust({new_key().fingerprint: new_key().private.public_key()}, given=True)
    assert not judged(built, built.ledger, stranger).holds


def test_an_unsigned_chain_does_not_hold_where_a_key_is_given(unsigned: Built, key: SigningKey) -> None:
    """Stripping every signature is no way out."""
    trust = Trust({key.fingerprint: key.private.public_key()}, given=True)
    assert [problem.kind for problem in judged(unsigned, None, trust).problems] == ["forged"]


def test_a_line_of_another_folder_is_no_record_of_this_one(tmp_path: Path, key: SigningKey) -> None:
    """A record of the test environment does not count for production."""
    built, other = build(tmp_path / "a", 3, key), build(tmp_path / "b", 3, key)
    lines = [link.line for link in (*built.links[:2], other.links[2])]
    (built.folder / chain_folder.CHAIN).write_bytes(b"".join(line + b"\n" for line in lines))
    found = verify(None, built.folder).problems
    assert ("inserted", other.run(3)) in {(problem.kind, problem.run_id) for problem in found}


def test_a_replaced_record_is_seen_by_the_one_behind_it(unsigned: Built) -> None:
    """A right hash of its own does not help: the next record names another one."""
    restore = restored(unsigned.folder)
    lines = [link.line for link in unsigned.links]
    lines[2] = rehashed(unsigned.links[2], sealed_by="nobody@host").line
    (unsigned.folder / chain_folder.CHAIN).write_bytes(b"".join(line + b"\n" for line in lines))
    found = verify(None, unsigned.folder).problems
    restore()
    assert any("does not fit its neighbour" in problem.sentence and problem.place == 3 for problem in found)


def test_rows_of_other_machines_are_witnessed_by_the_records_that_saw_them(built: Built, tmp_path: Path) -> None:
    """Whoever rewrites the table from its first row on, with right hashes, cannot rewrite what was seen of it."""
    stranger = build(tmp_path, 1)
    rows = [stranger.ledger.rows[0]]
    for place, link in enumerate(built.links, start=2):
        rows.append(row_of(link, place, rows[-1].hash))
    rewritten = replace(built.ledger, rows=tuple(rows), runs=(*stranger.ledger.runs, *built.ledger.runs))
    assert [problem.sentence[:24] for problem in judged(built, rewritten).problems] == ["The ledger was rewritten"]


def test_a_forged_row_of_another_machine_is_named_by_its_signature(
    built: Built, key: SigningKey, tmp_path: Path
) -> None:
    """Its files are not here; with the public key given, its record in the ledger still has to be signed."""
    stranger = build(tmp_path, 1, key)
    forged = rehashed(stranger.links[0], sealed_by="nobody@host")
    last = built.ledger.rows[-1]
    trust = Trust({key.fingerprint: key.private.public_key()}, given=True)
    for link, kinds in ((stranger.links[0], []), (forged, ["forged"])):
        rows = (*built.ledger.rows, row_of(link, last.place + 1, last.hash))
        ledger = replace(built.ledger, rows=rows, runs=(*built.ledger.runs, *stranger.ledger.runs))
        assert [problem.kind for problem in judged(built, ledger, trust).problems] == kinds


def test_a_manifest_that_belongs_to_no_record_is_named(built: Built) -> None:
    """A record that somebody laid beside the others is none."""
    path = built.folder / "2025-01-01" / "extra.manifest.json"
    path.write_bytes(b"{}")
    found = verify(None, built.folder).problems
    path.unlink()
    assert [(problem.kind, problem.where) for problem in found] == [("inserted", "2025-01-01/extra.manifest.json")]


def test_a_huge_place_does_not_make_the_verification_endless(tmp_path: Path) -> None:
    """A forged place of a million millions is a gap, not a loop."""
    built = build(tmp_path, 3)
    forged = rehashed(built.links[2], place=10**12)
    with (tmp_path / chain_folder.CHAIN).open("ab") as file:
        file.write(forged.line + b"\n")
    assert any("999999999999" in problem.sentence for problem in verify(None, tmp_path).problems)


@pytest.mark.parametrize(
    "line", [b"", b"[" * 100_000, b"null", b'{"place": 1e999}', b"\xff", b'{"place":true}', b"9" * 9999]
)
def test_nonsense_in_the_chain_file_is_a_finding_not_a_crash(line: bytes, tmp_path: Path) -> None:
    """Whatever stands there, the verification ends and says that it is no record."""
    built = build(tmp_path, 2)
    with (tmp_path / chain_folder.CHAIN).open("ab") as file:
        file.write(line + b"\n")
    assert not verify(None, built.folder).holds


def test_retired_runs_are_no_deletion(tmp_path: Path, key: SigningKey) -> None:
    """What policy removed is counted as such, and the entry that says so is sealed itself."""
    told = [manifest_of(tmp_path, number) for number in (1, 2)]
    first, _ = (chain.seal(None, tmp_path, one, key) for one in told)
    chain.retire(None, tmp_path, [str(told[0].run_id)], Decision("older than 90 days", "ada@host"), key)
    for path in (tmp_path / str(first.content["output"])).parent.glob(f"*{told[0].run_id.hex[:6]}*"):
        path.unlink()
    findings = verify(None, tmp_path)
    assert (findings.problems, findings.retired, findings.records) == ((), 1, 3)
    assert any("retired by policy" in remark for remark in findings.remarks)


def test_a_run_without_a_record_cannot_be_retired(tmp_path: Path) -> None:
    """A retention that names what never was is refused."""
    with pytest.raises(InvalidInput, match="No record of run"):
        chain.retire(None, tmp_path, ["nosuch"], Decision("older than 90 days", "ada@host"), None)


def test_a_run_is_sealed_once(tmp_path: Path) -> None:
    """Whoever seals a second time gets the record that stands."""
    told = manifest_of(tmp_path, 1)
    first = chain.seal(None, tmp_path, told)
    assert chain.seal(None, tmp_path, replace(told, outcome="lost")) == first
    assert len(chain_folder.read_lines(tmp_path).whole) == 1


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_a_torn_last_line_is_completed_from_the_waiting_link(share: float, tmp_path: Path) -> None:
    """A kill within the write leaves a part of the line; the next sealing writes the rest, and nothing twice."""
    chain.seal(None, tmp_path, manifest_of(tmp_path, 1))
    before = (tmp_path / chain_folder.CHAIN).read_bytes()
    link = chain.seal(None, tmp_path, manifest_of(tmp_path, 2))
    torn = link.line[: int(len(link.line) * share)]
    (tmp_path / chain_folder.CHAIN).write_bytes(before + torn)
    chain_folder.keep_waiting(tmp_path, link)
    chain.seal(None, tmp_path, manifest_of(tmp_path, 3))
    findings = verify(None, tmp_path)
    assert (findings.problems, findings.records) == ((), 3)


def test_a_torn_line_that_nothing_explains_is_kept_and_named(tmp_path: Path) -> None:
    """What somebody left there is evidence: the chain goes on behind it, and the verification says so."""
    chain.seal(None, tmp_path, manifest_of(tmp_path, 1))
    with (tmp_path / chain_folder.CHAIN).open("ab") as file:
        file.write(b'{"nonsense":')
    chain.seal(None, tmp_path, manifest_of(tmp_path, 2))
    assert b'{"nonsense":\n' in (tmp_path / chain_folder.CHAIN).read_bytes()
    findings = verify(None, tmp_path)
    assert [problem.kind for problem in findings.problems] == ["inserted"]


def test_a_sealer_waits_for_the_other_and_gives_up_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that hangs with the lock does not hang everybody."""
    monkeypatch.setattr(chain_folder, "LOCK_WAIT_S", 0.1)
    with chain_folder.locked(tmp_path), pytest.raises(RecordsBusy):
        chain.seal(None, tmp_path, manifest_of(tmp_path, 1))


def test_the_manifest_is_canonical_and_has_no_fraction() -> None:
    """Key order and blanks do not change a digest; a fraction, whose digits may differ, is refused."""
    assert manifest.canonical({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    for value in ({"a": 0.5}, [1.0], {"a": [{"b": 2.5}]}):
        with pytest.raises(InvalidInput, match="fraction"):
            manifest.canonical(value)


@pytest.mark.parametrize(
    ("before", "after"), [({"a": 1.0}, {"a": 1}), ({"a": 1e20}, {"a": 10**20}), ({"a": 1e-7}, {"a": 0.0000001})]
)
def test_parameters_have_one_digest_on_both_sides_of_the_ledger(before: dict, after: dict) -> None:
    """jsonb writes numbers its own way; the digest of what was sealed must survive it."""
    assert manifest.parameters_digest(before) == manifest.parameters_digest(after)
    assert manifest.parameters_digest({"a": 0.5}) != manifest.parameters_digest({"a": 0.25})


@pytest.fixture
def pem(tmp_path: Path, key: SigningKey) -> Path:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = tmp_path / "signing.pem"
    path.write_bytes(key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return path


def test_the_signing_key_is_a_file_or_the_text_itself(
    pem: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with line breaks written as \\n, as in a unit file."""
    for given in (str(pem), pem.read_text(), pem.read_text().replace("\n", "\\n")):
        monkeypatch.setenv("GENONAUT_SIGNING_KEY", given)
        found = signing.signing_key(load_settings("test"))
        assert found is not None
        assert found.fingerprint == key.fingerprint


def test_a_key_that_others_can_read_is_refused(pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in everybody's reach proves nothing; the sentence shows neither key nor path."""
    pem.chmod(0o640)
    monkeypatch.setenv("GENONAUT_SIGNING_KEY", str(pem))
    with pytest.raises(InvalidSettings, match="can be read by others") as caught:
        signing.signing_key(load_settings("test"))
    assert str(pem) not in str(caught.value)


@pytest.mark.parametrize(
    "given", ["nosuchfile", "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----", "a\0b"]
)
def test_what_is_no_key_is_refused_without_being_repeated(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was given might be most of a key."""
    settings = load_settings("test").model_copy(update={"signing_key": signing_secret(given)})
    with pytest.raises(InvalidSettings) as caught:
        signing.signing_key(settings)
    assert given not in str(caught.value)


def signing_secret(text: str) -> object:
    from pydantic import SecretStr

    return SecretStr(text)


def judged_in_time(built: Built) -> Findings:
    """Judge a chain three times, which takes its time or less in the median: garbage is collected now and then."""
    seconds = []
    for _ in range(3):
        started = time.process_time()
        findings = judged(built, built.ledger)
        seconds.append(time.process_time() - started)
    assert median(seconds) < RECORDS / A_SECOND
    return findings


def test_records_are_verified_a_thousand_a_second(tmp_path: Path, key: SigningKey) -> None:
    """Lines, signatures, manifests, outputs and the ledger's rows, all of them; RECORDS=10000 asks for ten thousand.

    Processor time of this process, as much of it as is its own: other tests run beside it.
    """
    built = build(tmp_path, RECORDS, key)
    findings = judged_in_time(built)
    assert (findings.problems, findings.records) == ((), RECORDS)


def test_a_chain_edited_from_end_to_end_is_verified_as_fast(tmp_path: Path) -> None:
    """What somebody did to every line must not cost the verification the square of it."""
    built = build(tmp_path, RECORDS)
    path = tmp_path / chain_folder.CHAIN
    path.write_bytes(path.read_bytes().replace(b'"ok"', b'"no"'))
    findings = judged_in_time(built)
    assert {link.run_id for link in built.links} <= named(findings)


def test_times_are_sealed_in_utc() -> None:
    """One instant has one text, wherever the machine stands."""
    at = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert manifest.moment(at) == manifest.moment(at.astimezone()) == "2025-01-02T03:04:05.000000Z"
    assert json.loads(manifest.canonical({"at": manifest.moment(at)})) == {"at": manifest.moment(at)}
