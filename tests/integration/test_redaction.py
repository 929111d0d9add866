"""A notebook shows every secret it knows, in every spelling, wherever it can: none is left in any record."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psycopg
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from psycopg import conninfo, sql

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import InvalidInput, NotebookFailed, SecretInParameter
from genonaut_lib.migration import adoption
from genonaut_lib.runs.engine import RunRequest, notebook_path, resolve_parameters, run_notebook
from genonaut_lib.runs.secrets import fingerprints, references
from genonaut_lib.runs.secrets.redaction import Redactor
from genonaut_lib.settings import Settings, load_settings
from tests import leaks
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.leaks import CANARIES, SPELLINGS

ROOT = Path(__file__).parents[2]
CHANNELS = ("on_streams", "on_display", "on_widget", "on_process", "in_a_traceback")
DSN = "dsn-canary-5b1f"
PASSWORD = "pw canary'7f3a"


@dataclass(frozen=True)
class Leak:
    """What a run of the leaking notebook left behind."""

    files: dict[Path, bytes]
    ledger: str
    said: str
    redactor: Redactor

    def record(self) -> Any:
        """The executed notebook."""
        return next(json.loads(content) for file, content in self.files.items() if file.suffix == ".ipynb")

    def texts(self) -> Iterator[tuple[str, bytes]]:
        """Every file as it is and, if it is JSON, as its strings are; the ledger and the refusal."""
        for file, content in self.files.items():
            yield file.name, content
            if file.suffix == ".ipynb":
                yield f"strings of {file.name}", "\n".join(strings(json.loads(content))).encode()
        yield "ledger", self.ledger.encode()
        yield "refusal", self.said.encode()


def strings(value: Any) -> Iterator[str]:
    """Every string of a JSON value, lines of one text put together."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        yield "".join(item for item in value if isinstance(item, str))
        for item in value:
            yield from strings(item)


def leaking_notebook() -> Any:
    """A notebook with a secret in every place a notebook has."""
    parameters = new_code_cell('environment: str = ""\ndsn: str = ""', metadata={"tags": ["parameters"]})
    pasted = "\n".join(f"# {spell(canary)!r}" for canary in CANARIES for spell in SPELLINGS.values())
    cells = [
        parameters,
        new_markdown_cell(f"# Notes\n{CANARIES[0]}", attachments={"note.txt": {"text/plain": CANARIES[1]}}),
        new_code_cell(pasted, metadata={"notes": {CANARIES[2]: list(CANARIES)}}),
        new_code_cell("import leaks\nfrom genonaut_lib.runs.secrets.references import resolved\nprint(resolved(dsn))"),
        *(new_code_cell(f"leaks.{channel}()") for channel in CHANNELS),
        new_code_cell("print('never')"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "author": CANARIES[3]})


@pytest.fixture(scope="module")
def leaking_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one notebook, which leaks."""
    root = tmp_path_factory.mktemp("leaking")
    (root / "notebooks").mkdir()
    for part in ("params", "migrations", "alembic.ini"):
        (root / part).symlink_to(ROOT / part)
    shutil.copy(leaks.__file__, root / "leaks.py")
    nbformat.write(leaking_notebook(), root / "notebooks" / "99_leak_secrets.ipynb")
    return root


@contextlib.contextmanager
def leaking_settings(admin_url: str, leaking_project: Path) -> Iterator[Settings]:
    """Settings of a new database whose address holds a password, with every canary in the environment."""
    if "password" in conninfo.conninfo_to_dict(admin_url):
        pytest.skip("this server checks passwords; the canary would not get in")
    name = f"genonaut_leak_{os.getpid()}"
    with psycopg.connect(admin_url, autocommit=True) as admin, pytest.MonkeyPatch.context() as patch:
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        patch.chdir(leaking_project)
        patch.setenv("DATABASE_URL", conninfo.make_conninfo(admin_url, dbname=name, password=PASSWORD))
        patch.setenv("GENONAUT_ENVIRONMENT", "test")
        patch.setenv("LEAK_DSN", DSN)
        for number, canary in enumerate(CANARIES):
            patch.setenv(f"CANARY_SECRET_{number}", canary)
        yield load_settings("test")
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def leak(admin_url: str, leaking_project: Path) -> Leak:
    """The leaking notebook, run once."""
    with leaking_settings(admin_url, leaking_project) as settings, engine.session(settings) as connection:
        adoption.adopt(connection, settings)
        with pytest.raises(NotebookFailed) as caught:
            run_notebook(settings, RunRequest("99_leak_secrets", {"dsn": "env:LEAK_DSN"}))
        files = [file for file in (leaking_project / "outputs").rglob("*") if file.is_file()]
        redactor = Redactor.of_environment(settings, connection)
        ledger = "\n".join(whole_ledger(connection))
    return Leak({file: file.read_bytes() for file in files}, ledger, str(caught.value), redactor)


def whole_ledger(connection: Connection) -> Iterator[str]:
    """Every row of every table of the ledger as text."""
    names = connection.execute("select tablename from pg_tables where schemaname = 'workbench'").fetchall()
    for (name,) in names:
        rows = sql.SQL("select t::text from {} t").format(sql.Identifier("workbench", name))
        yield from (str(row[0]) for row in connection.execute(rows).fetchall())


def test_no_canary_is_left_in_any_spelling(leak: Leak) -> None:
    """Not in the notebook, its HTML copy, the kernel's log, the ledger or the refusal."""
    assert {file.suffix for file in leak.files} >= {".ipynb", ".html", ".log"}
    spelt = [
        (canary, name, spell(canary).encode())
        for canary in (*CANARIES, DSN, PASSWORD)
        for name, spell in SPELLINGS.items()
    ]
    found = [(place, canary, name) for place, text in leak.texts() for canary, name, one in spelt if one in text]
    assert found == []


def test_every_canary_was_shown_and_marked(leak: Leak) -> None:
    """The absence above is the redaction's work: each canary's mark stands on every channel."""
    record = leak.record()
    assert "never" not in json.dumps(record["cells"][-1].get("outputs", []))
    shown = {cell["source"][0] if cell["source"] else "": cell for cell in record["cells"]}
    channels = [json.dumps(cell) for source, cell in shown.items() if source.startswith("leaks.on_")]
    channels[2:3] = [json.dumps(record["metadata"]["widgets"])]
    logged = next(content for file, content in leak.files.items() if file.suffix == ".log")
    channels[3:4] = [logged.decode(), json.dumps(shown["leaks.in_a_traceback()"]), leak.ledger, leak.said]
    assert len(channels) == 7
    for canary, text in itertools.product(CANARIES, channels):
        assert leak.redactor.mark(canary) in text


def test_a_reference_stands_in_the_record_with_its_fingerprint(leak: Leak) -> None:
    """Cell, metadata and ledger name the variable; the kernel had the value."""
    reference = f"env:LEAK_DSN#{leak.redactor.fingerprint(DSN)[:8]}"
    record = leak.record()
    assert record["metadata"]["papermill"]["parameters"]["dsn"] == reference
    assert sum(reference in "".join(cell["source"]) for cell in record["cells"]) == 1
    assert reference in leak.ledger
    assert f'"{leak.redactor.mark(DSN)}\\n"' in json.dumps(record)


def test_what_is_no_secret_stays(leak: Leak) -> None:
    """The record is still a notebook, and says what it said."""
    record = nbformat.from_dict(leak.record())
    nbformat.validate(record)
    assert "URL-quoted twice: " in "".join(record.cells[-2].outputs[0].evalue)


def test_a_secret_as_a_parameter_is_refused_before_anything_is_written(
    command: Callable[..., Ended], gallery: Gallery, project: Path
) -> None:
    """The refusal names the parameter and the way out; screen, disk and ledger stay clean."""
    ended = command("run", "10", "-p", "dirty=postgresql://ada:canary-7f3a@db/x", "--dry-run")
    bare = command("run", "10", "-p", "postgresql://ada:canary-7f3a@db/x")
    assert (ended.code, bare.code) == (2, 2)
    assert "dirty holds a secret" in ended.said
    assert "env:NAME" in ended.said
    assert "canary" not in ended.said + bare.said
    assert not (project / "outputs").exists()
    assert gallery.connection.execute("select count(*) from workbench.runs").fetchone() == (0,)


def test_a_secret_of_the_environment_is_refused_in_a_params_file_too(settings: Settings) -> None:
    """What a params file gives a notebook goes into the record like any parameter."""
    address = {"10_seed_tags": {"dirty": "redis://:canary-7f3a@cache:6379"}}
    with pytest.raises(SecretInParameter, match="dirty holds a secret"):
        resolve_parameters(settings.model_copy(update={"notebooks": address}), notebook_path("10"), {})


def test_a_reference_to_a_variable_that_is_not_set_is_refused(settings: Settings) -> None:
    """Before the run, not in its fifth cell."""
    with pytest.raises(InvalidInput, match="NO_SUCH_DSN is not set"):
        resolve_parameters(settings, notebook_path("10"), {"dirty": "env:NO_SUCH_DSN"})


def test_all_who_work_on_a_database_take_the_same_fingerprints(
    settings: Settings, gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first machine's key goes into the table once there is one; a second machine takes it from there."""
    connection = gallery.connection
    first = Redactor.of_environment(settings, connection).fingerprint("a value")
    connection.execute("create table workbench.service_keys (name text primary key, key bytea not null)")
    assert Redactor.of_environment(settings, connection).fingerprint("a value") == first
    monkeypatch.setenv("GENONAUT_STATE", str(tmp_path / "another machine"))
    assert Redactor.of_environment(settings).fingerprint("a value") != first
    assert Redactor.of_environment(settings, connection).fingerprint("a value") == first


def test_keys_the_database_keeps_are_secrets(settings: Settings, gallery: Gallery) -> None:
    """A notebook may well show a table with the key that cursors are signed with."""
    connection = gallery.connection
    key = bytes(range(40, 72))
    connection.execute("create table workbench.service_keys (name text primary key, key bytea not null)")
    connection.execute("insert into workbench.service_keys values ('cursor', %s)", [key])
    redactor = Redactor.of_environment(settings, connection)
    for shown in (repr(key), key.hex(), f"\\x{key.hex()}", key.decode()):
        assert redactor.mark(key) in redactor.text(f"key {shown} kept")
    assert fingerprints.kept_keys(connection)[0] == key


def test_a_database_without_the_right_to_read_keys_gives_none(settings: Settings, gallery: Gallery) -> None:
    """The file's key serves; nothing fails."""
    connection = gallery.connection
    connection.execute("create table workbench.service_keys (name text primary key, key bytea not null)")
    connection.execute("create role keyless_reader")
    try:
        connection.execute("set role keyless_reader")
        assert fingerprints.kept_keys(connection) == []
        connection.execute("reset role")
        connection.execute("grant usage on schema workbench to keyless_reader")
        connection.execute("set role keyless_reader")
        assert fingerprints.load_key(connection) == fingerprints.load_key(None)
    finally:
        connection.execute("reset role")
        connection.execute("drop owned by keyless_reader")
        connection.execute("drop role keyless_reader")


def test_a_reference_given_again_takes_the_present_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record's parameters can be given to another run, also after the password was changed."""
    redactor = Redactor(key=lambda: b"k" * 32)
    monkeypatch.setenv("LEAK_DSN", "an old value")
    old = references.with_fingerprints({"dsn": "env:LEAK_DSN"}, redactor)
    monkeypatch.setenv("LEAK_DSN", "a new value")
    new = references.with_fingerprints(old, redactor)
    assert references.resolved(old["dsn"]) == "a new value"
    assert old["dsn"] != new["dsn"] == f"env:LEAK_DSN#{redactor.fingerprint('a new value')[:8]}"
