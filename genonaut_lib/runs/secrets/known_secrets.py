"""The secrets this process knows: where they come from, and which are too weak to be told from ordinary text.

They come from settings of type SecretStr, from variables that are known to hold one (`DATABASE_URL`,
`DATABASE_URL_<ENVIRONMENT>`, `REDIS_URL`, `PGPASSWORD`, `GENONAUT_<WHAT>_KEY`) or whose name says so (a word of it
is PASSWORD, SECRET, TOKEN, KEY or the like), from any other variable that holds an address with a password,
and from the password file of libpq.

A **weak** secret would eat ordinary text: one of fewer than six bytes besides blanks, a number of fewer than eight
digits, one made of a letter or two, a word of the records themselves, or the name of its own user, host or database.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import conninfo
from pydantic import BaseModel, SecretStr

from genonaut_lib.runs.secrets.spellings import SHORTEST, encoded, squeezed
from genonaut_lib.settings import CURSOR_KEY_VARIABLE, Settings

SHORTEST_NUMBER = 8
LONGEST_FILE = 65_536
SHORTEST_LINE = 12
"""Characters from which on one line of a secret of several lines is a secret by itself."""

ADDRESSES = re.compile(r"(DATABASE_URL|REDIS_URL)(_[A-Z0-9_]+)?")
KEYS = re.compile(r"GENONAUT_[A-Z0-9_]+_KEY|PGPASSWORD")
SECRET_WORDS = frozenset(
    ("PASSWORD", "PASSWD", "PASSPHRASE", "PASSCODE", "SECRET", "SECRETS", "TOKEN", "APIKEY", "KEY", "CREDENTIALS")
)
"""Words that, in the name of a variable, say that it holds a secret."""

_RECORD_WORDS = (
    "[redacted: cells cell_type metadata outputs output_type execution_count source nbformat nbformat_minor markdown "
    "kernelspec display_name language_info codemirror_mode file_extension mimetype nbconvert_exporter pygments_lexer "
    "ipython3 python3 papermill parameters default_parameters injected-parameters environment_variables input_path "
    "output_path start_time end_time duration exception status completed pending running failed cancelled killed "
    "stream stdout stderr display_data execute_result traceback evalue error text/plain text/html text/markdown "
    "text/latex application/json application/javascript image/png image/jpeg image/svg+xml widgets state "
    "application/vnd.jupyter.widget-state+json application/vnd.jupyter.widget-view+json model_id model_name "
    "version_major version_minor transient collapsed scrolled trusted password postgresql://postgres public localhost "
    "genonaut workbench notebook database environment production content_items_all content_items_auto content_tags "
    "secret passwd changeme redis://default template1 dry_run"
)


@dataclass(frozen=True)
class Secret:
    """A secret, the name of where it comes from, and words that stand beside it: user, host, database.

    `whole` says that a part of it is no secret: of an address, all but the password.
    """

    value: str
    name: str
    beside: tuple[str, ...] = ()
    whole: bool = False

    @property
    def weakness(self) -> str:
        """Why it cannot be told from ordinary text, empty if it can."""
        return weakness(self.value, self.beside)


def known(settings: Settings) -> list[Secret]:
    """Return every secret this process knows; of a variable whose name only sounds like one, no weak value."""
    found = [Secret(value, name) for name, value in _of_settings(settings)]
    found += [Secret(value, name) for name, value in os.environ.items() if _is_meant(name)]
    sounding = [Secret(value, name) for name, value in os.environ.items() if not _is_meant(name) and value]
    found = [part for secret in found for part in _parts(secret) if part.value]
    found += [part for secret in sounding for part in _parts_by_sound(secret) if not part.weakness]
    return [*found, *_of_password_file()]


def weakness(secret: str | bytes, beside: Iterable[str] = ()) -> str:
    """Return why a secret cannot be told from ordinary text, empty for one that can."""
    value = encoded(secret) if isinstance(secret, str) else secret
    if len(squeezed(value)) < SHORTEST:
        return "it is too short"
    if value.isdigit() and len(value) < SHORTEST_NUMBER:
        return "it is a short number"
    if len(set(value)) < 3:
        return "it has fewer than three different letters"
    if value in encoded(_RECORD_WORDS) or value in {encoded(word) for word in beside}:
        return "it is an ordinary word"
    return ""


def in_addresses(weak: Iterable[Secret]) -> list[str]:
    """Return weak secrets as they stand where they cannot be mistaken: in an address, and after `password`."""
    forms = ("password={0}", "password='{0}'", "PGPASSWORD={0}", "'password': '{0}'", '"password": "{0}"')
    texts = [form.format(secret.value) for secret in weak for form in forms]
    texts += [f":{secret.value}@{word}" for secret in weak for word in secret.beside]
    texts += [f"{word}:{secret.value}@" for secret in weak for word in secret.beside]
    return [text for text in texts if not weakness(text)]


def sounds_secret(name: str) -> bool:
    """Return whether the name of a variable or a parameter says that it holds a secret."""
    return bool(SECRET_WORDS.intersection(re.split(r"[^A-Z0-9]+", name.upper())))


def _is_meant(name: str) -> bool:
    return bool(ADDRESSES.fullmatch(name) or KEYS.fullmatch(name))


def _of_settings(section: BaseModel, path: str = "") -> Iterator[tuple[str, str]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, SecretStr):
            yield f"{path}{name}", value.get_secret_value()
        elif isinstance(value, BaseModel):
            yield from _of_settings(value, f"{path}{name}.")


def _parts_by_sound(secret: Secret) -> Iterator[Secret]:
    """A variable called key or token holds a secret, if not the path of something; others may hold addresses."""
    if sounds_secret(secret.name) and not os.path.exists(secret.value):  # noqa: PTH110  # false for what is no path at all
        yield from _parts(secret)
    elif "://" in secret.value:
        yield from _of_address(secret)


def _parts(secret: Secret) -> Iterator[Secret]:
    """Yield what of a value is secret: of an address its password and the whole, of a file's path the content."""
    if "://" in secret.value or ADDRESSES.fullmatch(secret.name.upper()):
        yield from _of_address(secret)
    elif os.path.isfile(secret.value):  # noqa: PTH113  # false, too, for what is no path at all
        yield from _of_file(secret)
    else:
        yield from _of_text(secret)


def _of_text(secret: Secret) -> Iterator[Secret]:
    yield secret
    # Several keys are parted by commas; a private key has lines, which a display may part.
    keys = [key.strip() for key in secret.value.split(",")] if CURSOR_KEY_VARIABLE.endswith(secret.name.upper()) else []
    lines = [line.strip() for line in secret.value.splitlines()]
    lines = [line for line in lines if len(line) >= SHORTEST_LINE and not line.startswith("-----")]
    yield from (Secret(part, secret.name) for part in {*keys, *lines} if part != secret.value)


def _of_file(secret: Secret) -> Iterator[Secret]:
    file = Path(secret.value)
    if os.access(file, os.R_OK) and file.stat().st_size <= LONGEST_FILE:
        content = file.read_bytes().decode("utf-8", "surrogateescape").strip()
        yield from _of_text(Secret(content, secret.name))


def _of_address(secret: Secret) -> Iterator[Secret]:
    passwords, beside = _read_address(secret.value)
    for password in passwords:
        yield Secret(password, secret.name, beside)
    if passwords:
        yield Secret(secret.value, secret.name, whole=True)


def _read_address(address: str) -> tuple[set[str], tuple[str, ...]]:
    """Return the passwords of an address, percent-decoded as their readers do, and the words beside them."""
    try:
        parts = {key: str(value) for key, value in conninfo.conninfo_to_dict(address).items()}
    except psycopg.ProgrammingError:
        parts = {}
    beside = [parts[key] for key in ("user", "host", "dbname") if parts.get(key)]
    passwords = {parts[key] for key in ("password", "sslpassword") if parts.get(key)}
    # Whatever libpq cannot read may be an address of another kind, or one whose password was not percent-encoded.
    found = re.search(r"://([^:/@]*):(.+)@([^/?#:]*)", address)
    if found and (not passwords or "@" in parts.get("host", "")):
        passwords.add(urllib.parse.unquote(found[2]))
        beside += [word for word in (found[1], found[3]) if word]
    found = re.search(r"[?&]password=([^&#]+)", address)
    if found:
        passwords.add(urllib.parse.unquote(found[1]))
    return passwords, tuple(dict.fromkeys(beside))


def _of_password_file() -> Iterator[Secret]:
    """Yield every password of libpq's password file: fields between colons, a backslash before what is none."""
    # Unlike Path.home, this has an answer where there is no home, as for a random user of a container.
    file = Path(os.environ.get("PGPASSFILE") or os.path.expanduser("~/.pgpass"))  # noqa: PTH111
    if not (file.is_file() and os.access(file, os.R_OK)):
        return
    for line in file.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields = [re.sub(r"\\(.)", r"\1", field) for field in re.findall(r"((?:\\.|[^:\\])*)(?::|$)", line)]
        if not line.startswith("#") and len(fields) >= 5 and fields[4]:
            yield Secret(fields[4], file.name, tuple(word for word in fields[:4] if word not in ("", "*")))
