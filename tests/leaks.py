"""Canaries, the ways a careless notebook may spell them, and the channels it may show them on.

Nothing but the standard library and Jupyter's own: a copy of this file runs inside the kernel.
"""

from __future__ import annotations

import base64
import html
import json
import os
import sys
import time
import urllib.parse
from collections.abc import Callable

CANARIES = (
    "p@ss:w/rd?x#1&y=2",
    'it\'s "both" quotes',
    "päßwörd-ünïcode",
    "秘密の合言葉は開けゴマ",
    "key🔑and🔒lock9",
    "with a few spaces in it 7",
    "c2VjcmV0LWxvb2tz+/A==",
    "".join(chr(33 + (place * 37) % 90) for place in range(300)),
    r"(a+)+$[b-c]*\d{3}|^x?",
    "line one here\nline two here\nthree",
    "tab\there\tand\x0bthere",
    "back\\slash\\n\\x41\\",
    "<b>&amp;</b>&lt;9>",
    "%41%2Fz%zz100%",
    "${HOME}$(id)`uname`",
    "deadBEEFcafe1234",
    "9876543210123",
    "-----dashes-----8",
    "{'json': [\"x\", null]}",
    "name=value;other='x y'",
)
"""Environment variables carry them, so none holds a NUL."""


def _apart(text: str, between: str) -> str:
    return between.join(text[place : place + 5] for place in range(0, len(text), 5))


def _data(text: str) -> bytes:
    return text.encode()


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "URL-quoted": lambda text: urllib.parse.quote(text, safe=""),
    "URL-quoted with plus": urllib.parse.quote_plus,
    "URL-quoted twice": lambda text: urllib.parse.quote(urllib.parse.quote(text)),
    "every byte percent-encoded": lambda text: "".join(f"%{byte:02x}" for byte in _data(text)),
    "base64": lambda text: base64.b64encode(_data(text)).decode(),
    "base64, one byte before": lambda text: base64.b64encode(b":" + _data(text) + b"!").decode(),
    "base64, two bytes before": lambda text: base64.b64encode(b"u:" + _data(text) + b"!?").decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(_data(text)).decode(),
    "base64 in lines": lambda text: base64.encodebytes(b"header " + _data(text)).decode(),
    "base64 of base64": lambda text: base64.b64encode(base64.b64encode(_data(text))).decode(),
    "hexadecimal": lambda text: _data(text).hex(),
    "HEXADECIMAL": lambda text: _data(text).hex().upper(),
    "hexadecimal with colons": lambda text: _data(text).hex(":"),
    "JSON": json.dumps,
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"dsn": text})),
    "repr": repr,
    "ascii": ascii,
    "repr of bytes": lambda text: repr(_data(text)),
    "HTML": html.escape,
    "HTML by numbers": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    "HTML of repr": lambda text: html.escape(repr(text)),
    "UTF-16 in hexadecimal": lambda text: text.encode("utf-16-le").hex(),
    "UTF-16 in base64": lambda text: base64.b64encode(text.encode("utf-16-be")).decode(),
    "numbers": lambda text: str(list(_data(text))),
    "in colours": lambda text: _apart(text, "\x1b[1;31m") + "\x1b[0m",
    "in broken lines": lambda text: _apart(text, "\n"),
}
"""Each may be searched for as it stands; how a notebook's file escapes it besides is undone by reading that file."""


def everything() -> str:
    """Every canary in every spelling, one a line."""
    return "\n".join(f"{name}: {spell(canary)}" for name, spell in SPELLINGS.items() for canary in canaries())


def canaries() -> list[str]:
    """The canaries as this process was given them."""
    return [os.environ[f"CANARY_SECRET_{number}"] for number in range(len(CANARIES))]


def on_streams() -> None:
    """Write everything and the whole environment, then every canary in two halves that are two messages."""
    sys.stdout.write(f"{everything()}\n{dict(os.environ)!r}\n")
    sys.stderr.write(everything())
    for canary in canaries():
        sys.stdout.write(canary[: len(canary) // 2])
        sys.stdout.flush()
        time.sleep(0.01)
        sys.stdout.write(canary[len(canary) // 2 :] + "\n")
        sys.stdout.flush()


def on_display() -> None:
    """Show everything in every kind of text, in JSON also as keys and nested, and in metadata."""
    from IPython.display import display, publish_display_data

    kinds = ["text/plain", "text/markdown", "text/latex", "image/svg+xml", "application/javascript", "text/x-made-up"]
    publish_display_data({kind: everything() for kind in kinds})
    page = "".join(f"<td>{html.escape(line)}</td>" for line in everything().splitlines())
    inside = base64.b64encode(page.encode()).decode()
    publish_display_data({"text/html": f"<table>{page}</table><img src='data:text/html;base64,{inside}'>"})
    nested = {canary: [{"dsn": spell(canary)} for spell in SPELLINGS.values()] for canary in canaries()}
    publish_display_data({"application/json": nested, "text/plain": ""}, metadata={"application/json": nested})
    handle = display(everything(), display_id=True)
    handle.update(everything()[:500])


def on_widget() -> None:
    """Keep everything in a widget's state."""
    from comm import create_comm

    state = {"_model_name": "TextModel", "_model_module": "made", "_model_module_version": "1", "value": everything()}
    create_comm(target_name="jupyter.widget", data={"state": {**state, "secrets": canaries()}})


def on_process() -> None:
    """Write everything to the standard error of the kernel's process, past Jupyter."""
    os.write(getattr(sys.stderr, "_original_stdstream_copy", None) or 2, everything().encode())


def in_a_traceback() -> None:
    """Fail with everything in the message."""
    raise RuntimeError(everything())
