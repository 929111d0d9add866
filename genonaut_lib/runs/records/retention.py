"""Which records policy lets go, and which never: decided from what was sealed, touching nothing. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from genonaut_lib.run_settings import RecordSettings, RetentionPolicy
from genonaut_lib.runs.records.links import Link

OK = "ok"


@dataclass(frozen=True)
class Start:
    """A start of a sequence: its name, and whether the next start would go on with it."""

    name: str
    is_open: bool


@dataclass(frozen=True)
class Ground:
    """What decides beside the records: the policy, the time, the starts of sequences by id, notebooks never let go."""

    policy: RecordSettings
    now: datetime
    starts: Mapping[str, Start] = field(default_factory=dict)
    lasting: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Verdict:
    """What becomes of a run's files: why they stay, or None for those that may go."""

    link: Link
    kept_for: str | None


def judge(runs: Sequence[Link], ground: Ground) -> list[Verdict]:
    """Return a verdict on each run, given in the order they were sealed."""
    needed = _needed(runs, ground)
    newer: Counter[tuple[str, str]] = Counter()
    found = []
    for link in reversed(runs):
        group = _sequence(link, ground) or "", _notebook(link)
        kept = needed.get(link.hash) or _by_policy(link, ground, newer[group])
        newer[group] += _outcome(link) == OK
        found.append(Verdict(link, kept))
    return found[::-1]


def _needed(runs: Iterable[Link], ground: Ground) -> dict[str, str]:
    """Return the runs that others depend on, by hash, each with the reason."""
    found: dict[str, str] = {}
    ended_well: set[tuple[str, str]] = set()
    for link in reversed(list(runs)):
        kinds = _same_work(link)
        start = ground.starts.get(str(link.content.get("pipeline")))
        if _notebook(link) in ground.lasting:
            found[link.hash] = "past the point of no return"
        elif start is not None and start.is_open:
            found[link.hash] = f"the sequence {start.name} is to be gone on with"
        elif _outcome(link) != OK and not ended_well & kinds:
            found[link.hash] = "not ended well, and not gone on with since"
        elif _outcome(link) == OK and not ended_well & kinds:
            found[link.hash] = "the last good run of its notebook"
        if _outcome(link) == OK:
            ended_well |= kinds
    return found


def _by_policy(link: Link, ground: Ground, newer: int) -> str | None:
    """Return the rule that keeps a run, None where none does; `newer` counts good ones after it."""
    policy = _policy(link, ground)
    ended = _ended(link)
    if ended is None:
        return "nobody knows when it ended"
    days = policy.keep_days if _outcome(link) == OK else policy.keep_failed_days
    if days is None and (_outcome(link) != OK or policy.keep_last is None):
        return "no rule lets it go"
    if _outcome(link) == OK and policy.keep_last is not None and newer < policy.keep_last:
        return f"keep_last {policy.keep_last}"
    if days is not None and ended > ground.now - timedelta(days=days):
        return f"younger than {days:g} days"
    return None


def _policy(link: Link, ground: Ground) -> RetentionPolicy:
    name = _sequence(link, ground)
    return ground.policy.sequences.get(name, ground.policy) if name else ground.policy


def _sequence(link: Link, ground: Ground) -> str | None:
    start = ground.starts.get(str(link.content.get("pipeline")))
    return None if start is None else start.name


def _same_work(link: Link) -> set[tuple[str, str]]:
    """Return what tells that a later run did the same: notebook with parameters, or the step of one start."""
    content = link.content
    same = {(_notebook(link), str(content.get("parameters_digest")))}
    return same | ({(str(content["pipeline"]), str(content.get("step")))} if content.get("pipeline") else set())


def _notebook(link: Link) -> str:
    return str(link.content.get("notebook"))


def _outcome(link: Link) -> str:
    return str(link.content.get("outcome"))


def _ended(link: Link) -> datetime | None:
    try:
        return datetime.fromisoformat(str(link.content.get("ended_at")))
    except ValueError:
        return None
