"""Secrets as parameters: a notebook is given where a value is found, never the value.

A parameter `env:GALLERY_DSN` means the variable GALLERY_DSN of the process that runs the notebook. The cell says

    psycopg.connect(resolved(dsn))

and the record shows `env:GALLERY_DSN#1a2b3c4d`: the reference with the first digits of the value's keyed
fingerprint, so that two records tell whether they were given the same value. Such a reference may be given
again; the digits are then taken anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from genonaut_lib.errors import InvalidInput, SecretInParameter, WeakSecret
from genonaut_lib.runs.secrets.known_secrets import sounds_secret, weakness
from genonaut_lib.runs.secrets.redaction import MARK_DIGITS, Redactor

_REFERENCE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)(#[0-9a-f]{8})?")
_CONNECTION_STRING = re.compile(r"\b(ssl)?password\s*=\s*[^\s]", re.IGNORECASE)


def resolved(value: str) -> str:
    """Return the value a reference means; text that is no reference means itself.

    Raises InvalidInput for a variable that is not set.
    """
    found = _REFERENCE.fullmatch(value)
    return value if found is None else _value_of(found[1])


def require_none_secret(parameters: Mapping[str, Any], redactor: Redactor) -> None:
    """Raise SecretInParameter for a parameter that holds a secret or looks like one, InvalidInput for a dead reference.

    A parameter is refused that holds a known secret, a password in an address or a private key, and one with a
    name such as `api_token` whose value is text. Raises WeakSecret for a reference to what cannot be hidden.
    """
    for name, value in parameters.items():
        if _is_suspect(name, value, redactor):
            raise SecretInParameter(
                f"The parameter {redactor.text(name)} holds a secret, which the record of the run would show.",
                hint="Put the value into a variable and give a reference to it: env:NAME.",
                field=redactor.text(name),
            )
    for variable, value in referenced(parameters).items():
        if reason := weakness(value):
            raise WeakSecret(f"{variable} cannot be kept out of the record: {reason}.", hint="Choose a longer secret.")


def referenced(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the value of every variable that parameters refer to. Raises InvalidInput for one that is not set."""
    names = [found[1] for text in _texts(parameters) if (found := _REFERENCE.fullmatch(text))]
    return {name: _value_of(name) for name in names}


def with_fingerprints(value: Any, redactor: Redactor) -> Any:
    """Return parameters with the fingerprint of its value behind every reference."""
    if isinstance(value, str) and (found := _REFERENCE.fullmatch(value)):
        return f"env:{found[1]}#{redactor.fingerprint(_value_of(found[1]))[:MARK_DIGITS]}"
    if isinstance(value, Mapping):
        return {name: with_fingerprints(item, redactor) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_fingerprints(item, redactor) for item in value]
    return value


def _is_suspect(name: str, value: Any, redactor: Redactor) -> bool:
    texts = list(_texts(value))
    if redactor.holds_secret({name: value}) or any(_CONNECTION_STRING.search(text) for text in texts):
        return True
    return sounds_secret(name) and any(text and not _REFERENCE.fullmatch(text) for text in texts)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _value_of(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise InvalidInput(f"The variable {variable} is not set.", hint=f"Set {variable}, which a parameter refers to.")
    return value
