"""The texts of a notebook, or of any JSON-like value, as they read on from one another.

A secret may begin in one string and end in the next: a stream comes in several messages, a traceback as a list
of lines. So strings that follow one another are read as one passage, and what is put in their place is
cut up again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genonaut_lib.runs.secrets.spellings import encoded


@dataclass(frozen=True)
class Passage:
    """Strings that read on from one another, and what stands between two of them.

    A stream `goes_on`: the next message may come after the notebook was saved.
    """

    parts: tuple[str, ...]
    glue: str = ""
    goes_on: bool = False

    @property
    def text(self) -> bytes:
        """The whole as UTF-8."""
        return encoded(self.glue.join(self.parts))


Read = Callable[[Passage], tuple[str, ...]]
"""Returns what is to stand in the place of each part."""


@dataclass(frozen=True)
class Walk:
    """A way through a JSON-like value: `read` is asked for every passage, `leaf` for whatever is no text."""

    read: Read
    leaf: Callable[[Any], Any]

    def through(self, value: Any) -> Any:
        """Return a copy of the value with every passage, keys too, as `read` returned it; types are kept."""
        if isinstance(value, str):
            return self.read(Passage((value,)))[0]
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, list | tuple):
            made = self._sequence(value)
            return made if isinstance(value, list) else tuple(made)
        return self.leaf(value)

    def _mapping(self, value: Mapping[Any, Any]) -> Any:
        made: Any = type(value)() if isinstance(value, dict) else {}
        for key, item in value.items():
            name = self.through(key)
            while name in made:
                # Two keys that were different secrets, or two spellings of one.
                name = f"{name}'"
            made[name] = self.through(item)
        return made

    def _sequence(self, value: Sequence[Any]) -> list[Any]:
        if len(value) > 1 and all(isinstance(item, str) for item in value):
            return list(self.read(Passage(tuple(value), _glue(value))))
        made = [self._stream(item) if _is_stream(item) else self.through(item) for item in value]
        streams = [(item["name"], new) for item, new in zip(value, made, strict=True) if _is_stream(item)]
        for name in dict.fromkeys(name for name, _ in streams):
            self._read_on([new for of, new in streams if of == name])
        return made

    def _stream(self, output: Mapping[Any, Any]) -> Any:
        """Return the copy of a stream's message, its text still as it was."""
        made: Any = type(output)()
        for key, item in output.items():
            made[self.through(key)] = item if key == "text" else self.through(item)
        return made

    def _read_on(self, messages: list[Any]) -> None:
        """Read the messages of one stream as one text, whatever came in between on another."""
        texts = [[one["text"]] if isinstance(one["text"], str) else list(one["text"]) for one in messages]
        parts = iter(self.read(Passage(tuple(part for text in texts for part in text), goes_on=True)))
        for one, text in zip(messages, texts, strict=True):
            new = [next(parts) for _ in text]
            one["text"] = new[0] if isinstance(one["text"], str) else new


def _is_stream(item: Any) -> bool:
    if not isinstance(item, dict) or item.get("output_type") != "stream" or not isinstance(item.get("name"), str):
        return False
    text = item.get("text")
    return isinstance(text, str) or (isinstance(text, list) and all(isinstance(line, str) for line in text))


def _glue(parts: Sequence[str]) -> str:
    """Lines of one text carry their own line breaks; those of a traceback do not."""
    return "" if all(part.endswith("\n") for part in parts[:-1]) else "\n"
