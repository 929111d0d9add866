"""Whatever is known to be secret is found in any spelling and any surroundings, and nothing else is touched."""

from __future__ import annotations

import copy
import html
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook, new_output
from pydantic import SecretStr

from genonaut_lib.errors import GenonautError, InvalidSettings, WeakSecret
from genonaut_lib.runs.kernel_log import KernelLog
from genonaut_lib.runs.secrets import fingerprints, known_secrets
from genonaut_lib.runs.secrets.known_secrets import weakness
from genonaut_lib.runs.secrets.needles import Needles
from genonaut_lib.runs.secrets.redacted import redacted_errors, redacted_logs
from genonaut_lib.runs.secrets.redaction import Redactor
from genonaut_lib.settings import Settings
from tests.leaks import CANARIES, SPELLINGS

SECRET = "hunter2-Wq7/x"
KEY = b"k" * 32
MARK = Redactor(key=lambda: KEY).mark(SECRET)

OF_MANY = Redactor([SECRET, *CANARIES])

SECRETS = st.text(min_size=6, max_size=40).filter(lambda text: not weakness(text))
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
often = hypothesis_settings(max_examples=150)


@pytest.fixture
def redactor() -> Redactor:
    return Redactor([SECRET], lambda: KEY)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without any variable that holds a secret, and without a password file."""
    for name in list(os.environ):
        if known_secrets.sounds_secret(name) or known_secrets.ADDRESSES.fullmatch(name) or name == "PGPASSWORD":
            monkeypatch.delenv(name)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    return monkeypatch


def stream(text: str, name: str = "stdout") -> Any:
    return new_output("stream", name=name, text=text)


@often
@given(SECRETS, st.text(max_size=30), st.text(max_size=30), st.sampled_from(sorted(SPELLINGS)))
def test_no_spelling_of_any_secret_stays_in_any_text(secret: str, before: str, after: str, name: str) -> None:
    """Whatever stands around it, and whatever letters it is made of."""
    spelt = SPELLINGS[name](secret)
    found = Redactor([secret]).text(before + spelt + after)
    assert [way for way, spell in SPELLINGS.items() if spell(secret) in found] == []


@often
@given(JSONS)
def test_what_holds_no_secret_comes_back_equal(value: Any) -> None:
    """Any JSON value, byte for byte, and as a copy."""
    assume(SECRET[:4] not in json.dumps(value))
    redactor = OF_MANY
    assert json.dumps(redactor.node(value)) == json.dumps(value)
    assert redactor.text(str(value)) == str(value)


@often
@given(st.text(), st.lists(st.integers(0, 60), max_size=5))
def test_a_secret_is_found_wherever_a_stream_is_cut(around: str, places: list[int]) -> None:
    """Messages of one stream are read on; none of the text around is lost."""
    text = f"{around}{SECRET}{around}"
    cuts = sorted({0, len(text), *(place for place in places if place < len(text))})
    parts = [text[start:end] for start, end in itertools.pairwise(cuts)]
    redactor = Redactor([SECRET], lambda: KEY)
    found = redactor.node([stream(part) for part in parts])
    assert "".join(one["text"] for one in found) == redactor.text(text) == text.replace(SECRET, MARK)


@often
@given(st.binary(), st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_bytes_that_come_in_pieces_lose_nothing_but_the_secret(around: bytes, sizes: list[int]) -> None:
    """However a pipe cuts them; bytes that are no text come through as they are."""
    redactor = Redactor([SECRET], lambda: KEY)
    whole = around + SECRET.encode() + around + b"." * 2_000
    written, waiting = b"", b""
    for number, size in enumerate([*sizes, len(whole)]):
        start = sum(sizes[:number])
        ready, waiting = redactor.begin(waiting + whole[start : start + size])
        written += ready
    assert written + redactor.bytes_(waiting) == whole.replace(SECRET.encode(), MARK.encode())


@pytest.mark.parametrize("canary", CANARIES)
def test_a_mixture_of_escapes_hides_nothing(canary: str) -> None:
    """Every second letter as a number of HTML, the whole in JSON, coloured, twice."""
    mixed = "".join(f"&#{ord(letter)};" if place % 2 else letter for place, letter in enumerate(canary))
    text = json.dumps(json.dumps(f"\x1b[1m{mixed[:7]}\x1b[0m{mixed[7:]}"))
    redactor = Redactor([canary])
    assert redactor.text(text) == f'"\\"\\u005cu001b[1m{redactor.mark(canary)}\\""'.replace("\\u005c", "\\\\")


@pytest.mark.parametrize("spell", [html.escape, json.dumps, ascii, str], ids=["html", "json", "repr", "plain"])
@pytest.mark.parametrize("width", [3, 7, 11])
def test_a_secret_of_several_words_that_is_escaped_and_wrapped_is_found(
    spell: Callable[[str], str], width: int
) -> None:
    """Whoever wraps lines breaks them inside an escape, too, and leaves out the blank there."""
    secret = 'correct "horse" <bättery> staple'
    spelt = spell(secret).strip("'\"")
    wrapped = "\n    ".join(spelt[place : place + width].strip() for place in range(0, len(spelt), width))
    redactor = Redactor([secret])
    assert redactor.text(f"key: {wrapped}.") == f"key: {redactor.mark(secret)}."


def test_a_tag_inside_a_secret_hides_nothing(redactor: Redactor) -> None:
    """A page may wrap a part of it."""
    assert redactor.text("<td>hunter2-<b>Wq7</b>/x</td>") == f"<td>{MARK}</td>"


def test_a_part_of_a_long_secret_is_found() -> None:
    """A table shortens what is too wide for it."""
    secret = "".join(f"{place * 7919 % 1000:03}" for place in range(60))
    redactor = Redactor([secret])
    assert redactor.text(f"key  {secret[5:47]}...").count(redactor.mark(secret)) == 1
    assert len(redactor.text(f"key  {secret[5:47]}...").replace(redactor.mark(secret), "")) < 2 * 16 + len("key  ...")


def test_streams_are_read_on_each_by_itself(redactor: Redactor) -> None:
    """What comes in between on another stream, or as a picture, does not hide the second half."""
    plot = new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"})
    outputs = [stream("a hunter2-"), stream("hunt", "stderr"), plot, stream("Wq7/x b")]
    cell = new_code_cell(outputs=outputs)
    found = redactor.node(new_notebook(cells=[cell])).cells[0].outputs
    assert [one.get("text") for one in found] == [f"a {MARK}", "hunt", None, " b"]
    assert found[2] == plot


def test_the_first_half_of_a_secret_at_the_end_of_a_stream_is_hidden(redactor: Redactor) -> None:
    """The notebook may be saved between two messages, and the run be killed just then."""
    assert redactor.node([stream("a "), stream("hunter2-")]) == [stream("a "), stream(MARK)]
    assert redactor.node([stream("a hunter2-\n")]) == [stream("a hunter2-\n")]
    assert redactor.text("hunter2-") == "hunter2-"


def test_a_list_of_lines_is_read_on(redactor: Redactor) -> None:
    """A file of a notebook holds texts as lists of lines; a traceback is one always."""
    assert redactor.node({"text": ["one\n", f"two {SECRET}\n", "three"]}) == {
        "text": ["one\n", f"two {MARK}\n", "three"]
    }
    assert redactor.node({"traceback": ["\x1b[31mValueError: hunter2-", "Wq7/x\x1b[0m"]}) == {
        "traceback": [f"\x1b[31mValueError: {MARK}", "\x1b[0m"]
    }


def test_a_notebook_keeps_its_type_and_the_one_given_is_not_changed(redactor: Redactor) -> None:
    """The engine goes on with the notebook it has; only the copy on disk is clean."""
    notebook = new_notebook(cells=[new_code_cell(f"# {SECRET}", metadata={SECRET: SECRET})])
    before = copy.deepcopy(notebook)
    found = redactor.node(notebook)
    assert notebook == before
    assert isinstance(found, nbformat.NotebookNode)
    assert found.cells[0].source == f"# {MARK}"
    assert found.cells[0].metadata == {MARK: MARK}


def test_two_keys_that_become_one_mark_keep_both_values(redactor: Redactor) -> None:
    """The secret and its spelling in base64 were two keys."""
    found = redactor.node({SECRET: 1, SPELLINGS["base64"](SECRET): 2})
    assert list(found.values()) == [1, 2]


def test_a_secret_number_is_hidden_as_a_number_too() -> None:
    """JSON writes it without quotes."""
    redactor = Redactor(["9876543210123"])
    mark = redactor.mark("9876543210123")
    assert redactor.node({"id": 9876543210123, "other": 98, "yes": True}) == {"id": mark, "other": 98, "yes": True}


def test_a_password_in_an_address_is_hidden_though_nobody_knows_it() -> None:
    """Addresses of other servers come into notebooks as well."""
    redactor = Redactor(key=lambda: KEY)
    shown = redactor.text("see amqp://ada:s3cr3t@queue:5672/x, https://host:80/a@b, postgresql://user:password@host")
    assert shown == (
        f"see amqp://ada:{redactor.mark('s3cr3t')}@queue:5672/x, https://host:80/a@b, postgresql://user:password@host"
    )
    assert redactor.text(shown) == shown


def test_a_known_password_is_marked_alike_everywhere(redactor: Redactor) -> None:
    """Quoted in an address and plain beside it: one mark, by which records are compared."""
    assert redactor.text(f"redis://:hunter2-Wq7%2Fx@cache and {SECRET}") == f"redis://:{MARK}@cache and {MARK}"


def test_a_private_key_is_hidden_though_nobody_knows_it() -> None:
    """Only its first and last lines stay."""
    pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v\n-----END PRIVATE KEY-----"
    found = Redactor().node({"text": pem.splitlines(keepends=True)})["text"]
    assert "MC4CAQAw" not in "".join(found)
    assert found[0].startswith("-----BEGIN PRIVATE KEY-----[redacted:")


def test_fingerprints_tell_equal_values_to_those_who_hold_the_key_only() -> None:
    """Two records can be compared; without the key a guess cannot be tried."""
    one, same, other = (Redactor(key=lambda key=key: key) for key in (KEY, KEY, b"o" * 32))
    assert one.fingerprint(SECRET) == same.fingerprint(SECRET) != other.fingerprint(SECRET)
    assert one.mark(SECRET) == f"[redacted:{one.fingerprint(SECRET)[:8]}]"


@pytest.mark.parametrize("weak", ["abc", "123456", "aaaaaaaa", "stdout", "python3", "redacted", "postgres"])
def test_a_secret_that_would_eat_ordinary_text_is_refused(weak: str) -> None:
    """Records without their own words would say nothing."""
    with pytest.raises(WeakSecret):
        Redactor([weak])


def test_a_weak_password_is_hidden_in_addresses_only(bare: pytest.MonkeyPatch) -> None:
    """A database of a laptop may have one; its records stay readable."""
    bare.setenv("DATABASE_URL", "postgresql://ada:ada1@db/gallery")
    redactor = Redactor.of_environment(Settings(environment="lab"))
    shown = redactor.text("ada1 took postgresql://ada:ada1@db/gallery with password=ada1 and {'password': 'ada1'}")
    assert shown.count("ada1") == 1
    assert shown.startswith("ada1 took ")


def test_a_protected_environment_refuses_a_weak_password(bare: pytest.MonkeyPatch) -> None:
    """There it is named by its variable, never by its value."""
    bare.setenv("DATABASE_URL", "postgresql://gallery:gallery@db/gallery")
    with pytest.raises(WeakSecret, match="DATABASE_URL") as caught:
        Redactor.of_environment(Settings(environment="lab", protected=True))
    assert "gallery" not in str(caught.value)


def test_every_secret_of_the_environment_is_known(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Addresses, keys, variables named so, the password file, a key in a file, and settings."""
    pem = tmp_path / "signing.pem"
    pem.write_text("-----BEGIN PRIVATE KEY-----\nsigning-key-line-1\n-----END PRIVATE KEY-----\n")
    passwords = tmp_path / "pgpass"
    passwords.write_text("# host:port:db:user:secret\ndb:5432:*:ada:from\\:the-file\n")
    variables = {
        "DATABASE_URL": "postgresql://ada:p%40ss-one@db/gallery",
        "DATABASE_URL_OTHER": "host=db user=ada password='pass two'",
        "REDIS_URL": "redis://:pass-three@cache",
        "PGPASSWORD": "pass-four",
        "GENONAUT_JWT_KEY": "jwt-key-five",
        "GENONAUT_SIGNING_KEY": str(pem),
        "MY_API_TOKEN": "token-six",
        "http_proxy": "http://ada:pass-seven@proxy",
        "PGPASSFILE": str(passwords),
    }
    for name, value in variables.items():
        bare.setenv(name, value)
    keys = f"{'a1b2' * 8},{'c3d4' * 8}"
    redactor = Redactor.of_environment(Settings(environment="lab", cursor_key=SecretStr(keys)))
    expected = [
        "p@ss-one", "pass two", "pass-three", "pass-four", "jwt-key-five", "signing-key-line-1",
        "token-six", "pass-seven", "from:the-file", "c3d4" * 8, variables["DATABASE_URL"],
    ]  # fmt: skip
    assert [one for one in expected if redactor.text(f"<{one}>") != f"<{redactor.mark(one)}>"] == []
    assert redactor.text("p%40ss-one") == redactor.mark("p@ss-one")
    assert redactor.text(f"{pem} ada@db/gallery") == f"{pem} ada@db/gallery"


def test_a_fingerprint_key_that_is_too_short_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever guesses it can try guesses of passwords."""
    monkeypatch.setenv(fingerprints.VARIABLE, "short")
    with pytest.raises(InvalidSettings, match="32 characters"):
        fingerprints.load_key(None)


def test_a_machine_keeps_its_own_fingerprint_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Made once, for its owner's eyes only."""
    monkeypatch.delenv(fingerprints.VARIABLE, raising=False)
    monkeypatch.setenv("GENONAUT_STATE", str(tmp_path / "state"))
    key = fingerprints.load_key(None)
    assert fingerprints.load_key(None) == key
    files = list((tmp_path / "state").iterdir())
    assert [(file.name, file.stat().st_mode & 0o777) for file in files] == [("fingerprint.key", 0o600)]


def test_log_lines_and_their_exceptions_hold_no_secret(redactor: Redactor, caplog: pytest.LogCaptureFixture) -> None:
    """Of any library, with values bound late, and with a traceback."""
    with redacted_logs(redactor):
        try:
            int(SECRET)
        except ValueError:
            logging.getLogger("any.library").exception("cannot reach %s", {"dsn": SECRET})
    logging.getLogger("any.library").error("afterwards %s", SECRET)
    inside, afterwards = caplog.text.split("afterwards")
    assert inside.count(MARK) == 2
    assert "ValueError" in inside
    assert SECRET not in inside
    assert SECRET in afterwards


def test_a_record_without_secrets_stays_as_it_is(redactor: Redactor) -> None:
    """Every text of it, whatever its characters and line breaks."""
    clean = new_notebook(cells=[new_code_cell("1", id="a", outputs=[stream("Grüße\n\n1\u2028")])])
    assert redactor.node(clean) == clean


def test_a_refusal_leaves_without_the_secret(redactor: Redactor) -> None:
    """Message and hint, as the terminal and the ledger show them."""
    with pytest.raises(GenonautError) as caught, redacted_errors(redactor):
        raise GenonautError(f"failed with {SECRET}.", hint=f"Look at {SECRET}.")
    assert caught.value.message == f"failed with {MARK}."
    assert str(caught.value) == f"failed with {MARK}. Look at {MARK}."


def test_what_a_process_prints_reaches_its_log_without_the_secret(redactor: Redactor, tmp_path: Path) -> None:
    """Also when it comes in two writes; the last words are in the log when it is closed."""
    log = KernelLog(tmp_path / "kernel.log", redactor)
    program = "import os, time; os.write(2, b'a hunter2-'); time.sleep(0.1); os.write(2, b'Wq7/x b')"
    with log.inlet() as stderr:
        process = subprocess.Popen([sys.executable, "-c", program], stderr=stderr)
    assert process.wait() == 0
    log.close()
    assert (tmp_path / "kernel.log").read_text() == f"a {MARK} b"


def test_a_log_that_cannot_be_written_does_not_hold_up_the_process(
    redactor: Redactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk the kernel goes on, and the error is not lost."""
    seen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    log = KernelLog(Path("/dev/full"), redactor)
    program = "import os; [os.write(2, b'x' * 65536) for _ in range(16)]"
    with log.inlet() as stderr:
        process = subprocess.Popen([sys.executable, "-c", program], stderr=stderr)
    assert process.wait(timeout=60) == 0
    log.close()
    assert [one.exc_type for one in seen] == [OSError]


@often
@given(st.lists(st.binary(min_size=1, max_size=12), max_size=20), st.binary(max_size=300))
def test_needles_are_found_as_by_looking_everywhere(needles: list[bytes], hay: bytes) -> None:
    """The fast search finds what the plain one finds, short needles and long, overlapping ones too."""
    data = hay + b"".join(needles) + hay
    expected = {(start, one) for one in needles for start in range(len(data)) if data.startswith(one, start)}
    assert {(hit.start, hit.needle) for hit in Needles.of(needles).hits(data)} == expected
