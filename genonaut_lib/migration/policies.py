"""What becomes of dirty data: a kind for each way an element can be dirty, and a decision for each kind.

A policy is text, `variant=create, not_a_string=map`; a kind that is not named takes its default. Each
kind is decided by one phase only, so that two phases cannot disagree about it.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from genonaut_lib.errors import InvalidInput
from genonaut_lib.settings import nearest
from genonaut_lib.vocabulary import MAX_TAG_LENGTH, SpellingKind, canonical_tag_name, classify_spelling, tag_id


class Decision(enum.StrEnum):
    """What can be done with a dirty element."""

    MAP = "map"
    CREATE = "create"
    QUARANTINE = "quarantine"


class DirtyKind(enum.StrEnum):
    """The ways an element of a legacy tag array, or the whole column, can be dirty."""

    VARIANT = "variant"
    UUID_STRING = "uuid_string"
    NOT_A_STRING = "not_a_string"
    BLANK = "blank"
    TOO_LONG = "too_long"
    NOT_AN_ARRAY = "not_an_array"
    UNKNOWN_NAME = "unknown_name"
    DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Rule:
    """What may be decided about a kind, the default first, and the phase that decides it."""

    allowed: tuple[Decision, ...]
    phase: str

    @property
    def default(self) -> Decision:
        """The decision where nothing is said."""
        return self.allowed[0]


_MAP, _CREATE, _QUARANTINE = Decision.MAP, Decision.CREATE, Decision.QUARANTINE
_SEED, _FILL = "seed_tags", "backfill_tag_uuids"
RULES: Mapping[DirtyKind, Rule] = {
    DirtyKind.VARIANT: Rule((_MAP, _CREATE, _QUARANTINE), _SEED),
    DirtyKind.UUID_STRING: Rule((_MAP, _CREATE, _QUARANTINE), _SEED),
    DirtyKind.NOT_A_STRING: Rule((_QUARANTINE, _MAP), _SEED),
    DirtyKind.BLANK: Rule((_QUARANTINE,), _SEED),
    DirtyKind.TOO_LONG: Rule((_QUARANTINE,), _SEED),
    DirtyKind.NOT_AN_ARRAY: Rule((_QUARANTINE, _MAP), _SEED),
    # Creating the tag loses least: the name was written by an application that knew no better yet.
    DirtyKind.UNKNOWN_NAME: Rule((_CREATE, _QUARANTINE), _FILL),
    DirtyKind.DUPLICATE: Rule((_MAP, _QUARANTINE), _FILL),
}

Policy = Mapping[DirtyKind, Decision]


def kinds_of(phase: str) -> list[DirtyKind]:
    """Return the kinds that a phase decides, in the order of the rules."""
    return [kind for kind, rule in RULES.items() if rule.phase == phase]


def defaults(phase: str) -> dict[DirtyKind, Decision]:
    """Return what a phase decides where nothing is said."""
    return {kind: RULES[kind].default for kind in kinds_of(phase)}


def parse_policy(text: str, phase: str) -> dict[DirtyKind, Decision]:
    """Return the decisions that `text` names for the kinds of a phase; empty text names none.

    Raises InvalidInput for a kind that does not exist, belongs to another phase or is named twice,
    and for a decision that its kind does not allow.
    """
    named: dict[DirtyKind, Decision] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        word, separator, choice = (piece.strip() for piece in part.partition("="))
        if not separator:
            raise InvalidInput(f"{part!r} is not kind=decision.", hint='For example: dirty="variant=create".')
        kind = _kind(word, phase)
        if kind in named:
            raise InvalidInput(f"{kind} is named twice.", hint="Name each kind of dirty data once.")
        named[kind] = _decision(kind, choice)
    return named


def policy_text(policy: Policy) -> str:
    """Return a policy as the text it can be parsed from."""
    return ", ".join(f"{kind}={decision}" for kind, decision in policy.items())


def _kind(word: str, phase: str) -> DirtyKind:
    known = [str(kind) for kind in kinds_of(phase)]
    if word not in set(DirtyKind):
        raise InvalidInput(
            f"There is no kind of dirty data {word!r}.", hint=f"{nearest(word, known)}Known here: {', '.join(known)}."
        )
    kind = DirtyKind(word)
    if RULES[kind].phase != phase:
        raise InvalidInput(
            f"{kind} is not decided by {phase}.", hint=f"Give it to the notebook of {RULES[kind].phase} instead."
        )
    return kind


def _decision(kind: DirtyKind, word: str) -> Decision:
    allowed = RULES[kind].allowed
    if word not in allowed:
        raise InvalidInput(f"{kind} cannot be {word!r}.", hint=f"Allowed for {kind}: {', '.join(allowed)}.")
    return Decision(word)


@dataclass(frozen=True)
class Judgement:
    """What a spelling is, what is done with it, and the tag it means.

    `kind` is a dirty kind, `name` for a clean one, or `unknown_uuid` for a UUID that no tag has.
    `name` is None where no tag is made of the spelling; `tag` is None for one that means none.
    """

    kind: str
    decision: Decision
    name: str | None = None
    tag: uuid.UUID | None = None


def judge(element: Any, text: str | None, policy: Policy, known: Iterable[uuid.UUID]) -> Judgement:
    """Return what a decoded element means under a policy; `text` is what JSON shows for it.

    `known` holds the ids that a UUID string may mean.
    """
    kind = classify_spelling(element)
    if kind is SpellingKind.NAME:
        return _judge_name(element, policy)
    if kind is SpellingKind.UUID:
        return _judge_uuid(canonical_tag_name(element), policy, known)
    if kind is SpellingKind.NOT_A_STRING and _has_text(element, text) and policy[DirtyKind.NOT_A_STRING] is _MAP:
        assert text is not None
        return _named(DirtyKind.NOT_A_STRING, _MAP, canonical_tag_name(text))
    return Judgement(kind.value, _QUARANTINE)


def _judge_name(element: str, policy: Policy) -> Judgement:
    name = canonical_tag_name(element)
    if name == element:
        return _named("name", _CREATE, name)
    decision = policy[DirtyKind.VARIANT]
    if decision is _QUARANTINE:
        return Judgement(DirtyKind.VARIANT, decision)
    return _named(DirtyKind.VARIANT, decision, name if decision is _MAP else element)


def _judge_uuid(text: str, policy: Policy, known: Iterable[uuid.UUID]) -> Judgement:
    decision, found = policy[DirtyKind.UUID_STRING], uuid.UUID(text)
    if decision is _QUARANTINE:
        return Judgement(DirtyKind.UUID_STRING, decision)
    if found in known:
        return Judgement(DirtyKind.UUID_STRING, _MAP, None, found)
    if decision is _CREATE:
        return _named(DirtyKind.UUID_STRING, decision, text)
    return Judgement("unknown_uuid", _QUARANTINE)


def _has_text(element: Any, text: str | None) -> bool:
    """Numbers and booleans have a text worth a tag; null, objects and arrays have none."""
    return isinstance(element, bool | int | float) and text is not None and len(text) <= MAX_TAG_LENGTH


def _named(kind: str, decision: Decision, name: str) -> Judgement:
    return Judgement(str(kind), decision, name, tag_id(name))
