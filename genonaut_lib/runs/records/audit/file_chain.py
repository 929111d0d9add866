"""The lines of the folder's chain file: each whole, none missing, in order, each followed by the one it names.

Who removes or edits a line cannot be asked what stood there; the other copies can: the ledger, the manifest beside
each record, a waiting link. They are what a missing or unreadable line is named by.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from itertools import pairwise

from genonaut_lib.runs.records.audit.findings import Evidence, Line, Problem
from genonaut_lib.runs.records.links import NOTHING, Link


def problems(evidence: Evidence) -> Iterator[Problem]:
    """Yield what is wrong with the lines, with the head, and between lines and other copies."""
    explained: set[int] = set()
    yield from _unsound(evidence, explained)
    yield from _missing(evidence, explained)
    yield from _order(evidence)
    yield from _followers(evidence)
    yield from _contradictions(evidence)
    yield from _head(evidence)
    yield from _signatures(evidence)
    yield from _strangers(evidence)


def is_being_written(evidence: Evidence, line: Line) -> bool:
    """Return whether a torn last line is the beginning of a link that waits, so that the next start completes it."""
    return line.text == evidence.lines.torn and any(link.line.startswith(line.text) for link in evidence.waiting)


def describe(link: Link | None) -> str:
    """Return what a link is about, for a sentence."""
    if link is None:
        return "a record that nothing here tells"
    if link.run_id is None:
        return f"the entry {link.kind!r} by {link.body['sealed_by']}"
    return f"run {link.run_id} ({link.content.get('notebook')}, {link.content.get('outcome')})"


def _unsound(evidence: Evidence, explained: set[int]) -> Iterator[Problem]:
    """Yield the lines that are no sound link, and note in `explained` the places they had."""
    before = 0
    for line in evidence.read:
        if line.link is not None and line.is_sound:
            before = line.link.place
        elif not is_being_written(evidence, line):
            place = _place_of(evidence, line, before + 1, explained)
            explained |= {place} if place is not None else set()
            before = before if place is None else place
            yield _told(evidence, line, place)


def _place_of(evidence: Evidence, line: Line, behind: int, explained: set[int]) -> int | None:
    """Return the place an unsound line had: the one it says, or the one behind its neighbour.

    A place that another copy tells comes first. None when both are taken: then the line never was one of
    the chain.
    """
    said = [line.link.place] if line.link is not None else []
    free = [place for place in (*said, behind) if place not in evidence.sound and place not in explained]
    return next((place for place in free if place in evidence.witnesses), free[0] if free else None)


def _told(evidence: Evidence, line: Line, place: int | None) -> Problem:
    copies = evidence.witnesses.get(place, []) if place is not None else []
    original = copies[0].link if copies else line.link
    run_id = None if original is None else original.run_id
    if place is None:
        sentence = f"Line {line.number} is not a record of this chain: it was put in, or edited beyond recognition."
        return Problem("inserted", "chain", sentence, None, run_id)
    what = "was edited: its hash is not that of what it says" if line.link else "cannot be read"
    sentence = f"Line {line.number}, record {place}, {describe(original)}, {what}."
    return Problem("edited", "chain", sentence, place, run_id)


def _missing(evidence: Evidence, explained: set[int]) -> Iterator[Problem]:
    """Yield a problem for each missing place that another copy tells, and one for each gap that none tells."""
    present = {*evidence.sound, *explained}
    last = max(present, default=0)
    known = {place: copies[0] for place, copies in evidence.witnesses.items() if place not in present}
    waiting = {link.place for link in evidence.waiting}
    for place, witness in sorted(known.items()):
        if place in waiting:
            continue
        kind, how = ("cut", "is cut off the end") if place > last else ("deleted", "is deleted")
        sentence = f"Record {place}, {describe(witness.link)}, {how} of the chain file; its copy: {witness.source}."
        yield Problem(kind, "chain", sentence, place, witness.link.run_id)
    for before, after in pairwise([0, *sorted({*present, *known})]):
        if after - before > 1:
            sentence = f"Records {before + 1} to {after - 1} are deleted from the chain file, and no copy is left."
            yield Problem("deleted", "chain", sentence, before + 1)


def _order(evidence: Evidence) -> Iterator[Problem]:
    """Yield the lines that do not stand in ascending order, the fewest that explain it; and doubled ones."""
    lines = [line.link for line in evidence.read if line.link is not None and line.is_sound]
    seen: set[int] = set()
    for link in _out_of_order([link.place for link in lines], lines):
        sentence = f"Record {link.place}, {describe(link)}, does not stand where it was written."
        yield Problem("moved", "chain", sentence, link.place, link.run_id)
    for link in lines:
        if link.place in seen:
            sentence = f"Record {link.place}, {describe(link)}, is there a second time."
            yield Problem("inserted", "chain", sentence, link.place, link.run_id)
        seen.add(link.place)


def _out_of_order(places: list[int], lines: list[Link]) -> list[Link]:
    """Return the lines outside a longest ascending subsequence (patience sorting)."""
    ends: list[int] = []
    tails: list[int] = []
    parents: list[int | None] = []
    for at, place in enumerate(places):
        depth = bisect.bisect_right(ends, place)
        parents.append(tails[depth - 1] if depth else None)
        ends[depth : depth + 1], tails[depth : depth + 1] = [place], [at]
    kept: set[int] = set()
    step = tails[-1] if tails else None
    while step is not None:
        kept.add(step)
        step = parents[step]
    return [link for at, link in enumerate(lines) if at not in kept]


def _followers(evidence: Evidence) -> Iterator[Problem]:
    """Yield a record that its follower does not name: it was replaced by another one with a right hash of its own."""
    first = evidence.sound.get(1)
    if first is not None and first.previous != NOTHING:
        sentence = f"Record 1, {describe(first)}, names one before it."
        yield Problem("edited", "chain", sentence, 1, first.run_id)
    for link, after in pairwise(evidence.sound.values()):
        if after.place == link.place + 1 and after.previous != link.hash:
            vouched = any(copy.link.hash == link.hash for copy in evidence.witnesses.get(link.place, []))
            blamed = after if vouched else link
            sentence = f"Record {blamed.place}, {describe(blamed)}, was replaced: it does not fit its neighbour."
            yield Problem("edited", "chain", sentence, blamed.place, blamed.run_id)


def _contradictions(evidence: Evidence) -> Iterator[Problem]:
    """Yield places at which the file holds one record and another copy a different one."""
    for place, copies in evidence.witnesses.items():
        held = evidence.sound.get(place)
        for copy in copies if held is not None else []:
            if held is not None and copy.link.hash != held.hash:
                where = copy.source
                sentence = f"Record {place} is {describe(held)} in the chain file and {describe(copy.link)} in the "
                for run_id in sorted({str(link.run_id) for link in (held, copy.link) if link.run_id}):
                    yield Problem("edited", "chain", f"{sentence}{where}; one of them was edited.", place, run_id)


def _head(evidence: Evidence) -> Iterator[Problem]:
    head, last = evidence.head, max(evidence.sound, default=0)
    waiting = {link.place for link in evidence.waiting}
    if head is None:
        if evidence.sound and not {*evidence.sound} <= waiting:
            verb = "cannot be read" if evidence.has_head else "is deleted"
            yield Problem("edited" if evidence.has_head else "deleted", "head", f"The head of the chain {verb}.")
        return
    if head.place > last:
        sentence = f"The chain's end is cut off: its head is record {head.place}, and the file ends with record {last}."
        yield Problem("cut", "head", sentence, head.place, head.run_id)
    elif head.place < last and last not in waiting:
        sentence = (
            f"The head names record {head.place}, and the chain goes on to record {last}: one of them is not true."
        )
        yield Problem("edited", "head", sentence, last, evidence.sound[last].run_id)
    elif head.place == last and head.hash != evidence.sound[last].hash:
        sentence = f"Record {last}, {describe(evidence.sound[last])}, is not the one that the head names."
        yield Problem("edited", "head", sentence, last, head.run_id or evidence.sound[last].run_id)
    if head.key is not None and not head.is_signed(evidence.trust):
        yield Problem("forged", "head", _not_vouched("The head", head.key, evidence), head.place, head.run_id)


def _signatures(evidence: Evidence) -> Iterator[Problem]:
    """Yield records whose signature is not that of a trusted key, and unsigned ones behind signed ones."""
    signed = False
    for place, link in evidence.sound.items():
        if link.key is None and signed:
            sentence = f"Record {place}, {describe(link)}, is not signed, though records before it are."
            yield Problem("forged", "chain", sentence, place, link.run_id)
        elif link.key is not None and not link.is_signed(evidence.trust):
            sentence = _not_vouched(f"Record {place}, {describe(link)},", link.key, evidence)
            yield Problem("forged", "chain", sentence, place, link.run_id)
        signed = signed or link.key is not None
    last = evidence.sound[max(evidence.sound)] if evidence.sound else None
    if evidence.trust.given and last is not None and not signed:
        sentence = "No record is signed, and a public key was given to verify with."
        yield Problem("forged", "chain", sentence, last.place, last.run_id)
    if signed and evidence.head is not None and evidence.head.key is None:
        yield Problem("forged", "head", "The head is not signed, though records are.", evidence.head.place)


def _not_vouched(what: str, key: str, evidence: Evidence) -> str:
    if key in evidence.trust.keys:
        return f"{what} does not carry the signature of key {key[:16]}: it was made without the key."
    return f"{what} names the key {key[:16]}, which is not among the trusted ones."


def _strangers(evidence: Evidence) -> Iterator[Problem]:
    """Yield records that were sealed in another folder and brought here."""
    for place, link in evidence.sound.items():
        if link.folder.id != evidence.folder_id:
            sentence = f"Record {place}, {describe(link)}, was sealed in another folder ({link.folder.path})."
            yield Problem("inserted", "chain", sentence, place, link.run_id)
