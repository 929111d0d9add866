"""Policy lets go what no rule keeps and nobody depends on; the chain holds before and after."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from genonaut_lib.errors import InvalidSettings
from genonaut_lib.run_settings import RecordSettings, RetentionPolicy
from genonaut_lib.runs.records import chain, retiring
from genonaut_lib.runs.records.audit.verification import verify
from genonaut_lib.runs.records.chain import Decision
from genonaut_lib.runs.records.links import Link
from genonaut_lib.runs.records.retention import Ground, Start, judge
from tests.records import FIRST, manifest_of

NOW = FIRST + timedelta(days=100)
DECISION = Decision("keep_days 10", "ada")
WEEK = RecordSettings(keep_days=7, keep_failed_days=7)


def runs(*told: dict[str, Any]) -> list[Link]:
    """Links of runs a minute apart, as far as retention looks at them."""
    made = []
    for number, one in enumerate(told):
        ended = (FIRST + timedelta(minutes=number)).isoformat()
        content = {"run_id": str(uuid.uuid4()), "notebook": "50_refresh_tag_stats", "outcome": "ok", "ended_at": ended}
        made.append(Link({"kind": "run", "hash": uuid.uuid4().hex, "content": {**content, **one}}, b""))
    return made


def kept(links: list[Link], policy: RecordSettings, **ground: Any) -> list[bool]:
    return [verdict.kept_for is not None for verdict in judge(links, Ground(policy, NOW, **ground))]


def test_without_a_rule_everything_is_kept() -> None:
    """Nobody loses a record for want of a setting."""
    assert kept(runs({}, {"outcome": "failed"}, {}), RecordSettings()) == [True, True, True]


def test_the_last_good_run_of_each_notebook_stays_however_old() -> None:
    """With each set of parameters: a dry run does not stand for the real one."""
    links = runs({}, {"parameters_digest": "dry"}, {}, {"notebook": "10_seed_tags"})
    assert kept(links, WEEK) == [False, True, True, True]


def test_a_failed_run_stays_until_the_same_was_done_well() -> None:
    """By the same notebook with the same parameters, or by the same step of the same start."""
    step = {"pipeline": "p", "step": "s"}
    resumed = {**step, "parameters_digest": "other"}
    links = runs({"outcome": "failed"}, {"outcome": "lost", **step}, resumed, {"outcome": "killed", "notebook": "n"})
    assert kept(links, WEEK) == [True, False, True, True]
    assert kept([*links, *runs({})], WEEK)[0] is False


def test_failed_runs_have_a_rule_of_their_own() -> None:
    """Without it they are kept for ever, whatever becomes of good ones."""
    links = runs({"outcome": "failed"}, {}, {})
    assert kept(links, RecordSettings(keep_days=7)) == [True, False, True]
    assert kept(links, RecordSettings(keep_failed_days=7)) == [False, True, True]


@pytest.mark.parametrize(("days", "expected"), [(99.0, [False, False, True]), (101.0, [True, True, True])])
def test_days_count_from_the_end_of_a_run(days: float, expected: list[bool]) -> None:
    """A run is kept for as many days as the rule says."""
    assert kept(runs({}, {}, {}), RecordSettings(keep_days=days)) == expected


def test_keep_last_counts_good_runs_of_each_notebook() -> None:
    """A failed one in between takes no other's place."""
    links = runs({}, {}, {"notebook": "10_seed_tags"}, {"outcome": "failed"}, {})
    assert kept(links, RecordSettings(keep_last=2)) == [False, True, True, True, True]


def test_a_sequence_has_a_policy_of_its_own() -> None:
    """Sealing by the minute leaves 1,440 records a day; the same notebook run by hand is not concerned."""
    policy = RecordSettings(sequences={"seal": RetentionPolicy(keep_last=1)})
    links = runs({"pipeline": "a"}, {}, {"pipeline": "b"})
    starts = {"a": Start("seal", is_open=False), "b": Start("seal", is_open=False)}
    assert kept(links, policy, starts=starts) == [False, True, True]


def test_runs_of_a_sequence_that_is_to_be_gone_on_with_stay() -> None:
    """The next start asks which of its steps are done."""
    links = runs({"pipeline": "a"}, {}, {})
    assert kept(links, WEEK, starts={"a": Start("migrate", is_open=True)}) == [True, False, True]


def test_what_passed_the_point_of_no_return_stays() -> None:
    """What cannot be undone, and what undid, is told for ever."""
    lasting = retiring.lasting_notebooks()
    assert {"13_drop_legacy_tags", "90_roll_back"} <= lasting
    links = runs({"notebook": "13_drop_legacy_tags"}, {"notebook": "13_drop_legacy_tags"})
    assert kept(links, WEEK, lasting=lasting) == [True, True]


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A folder with twelve good runs of one notebook, one a minute, sealed in files."""
    for number in range(1, 13):
        chain.seal(None, tmp_path, manifest_of(tmp_path, number))
    return tmp_path


def retire(folder: Path, policy: RecordSettings, now: datetime = NOW) -> int:
    found = retiring.plan(None, folder, policy, now)
    retiring.carry_out(None, folder, found, DECISION, None)
    return len(found.going)


def test_retiring_removes_files_and_leaves_a_chain_that_holds(sealed: Path) -> None:
    """Notebook, HTML copy and manifest go; the link stays and the verification counts the retired."""
    assert retire(sealed, RecordSettings(keep_last=2)) == 10
    assert len(list(sealed.rglob("*.ipynb"))) == len(list(sealed.rglob("*.manifest.json"))) == 2
    found = verify(None, sealed)
    assert (found.problems, found.retired, found.records) == ((), 10, 13)
    assert retire(sealed, RecordSettings(keep_last=2)) == 0


def test_a_plan_alone_removes_nothing(sealed: Path) -> None:
    """`--dry-run` only says."""
    assert len(retiring.plan(None, sealed, WEEK, NOW).going) == 11
    assert len(list(sealed.rglob("*.ipynb"))) == 12


def test_a_run_that_was_tampered_with_is_kept_and_still_named(sealed: Path) -> None:
    """Retiring must be no way to be rid of evidence."""
    edited = min(sealed.rglob("*.html"))
    edited.write_text("something else")
    assert retire(sealed, WEEK) == 10
    assert edited.is_file()
    assert [problem.kind for problem in verify(None, sealed).problems] == ["edited"]


def test_what_a_kill_left_of_retired_files_goes_with_the_next_retiring(sealed: Path) -> None:
    """The chain says first that they go; a kill before they went is no contradiction."""
    found = retiring.plan(None, sealed, WEEK, NOW)
    chain.retire(None, sealed, [str(link.run_id) for link in found.going], DECISION, None)
    assert verify(None, sealed).holds
    assert retire(sealed, WEEK) == 0
    assert len(list(sealed.rglob("*.ipynb"))) == 1
    assert verify(None, sealed).holds


def test_a_policy_for_a_sequence_that_there_is_not_is_refused(sealed: Path) -> None:
    """A typo would keep everything for ever, in silence."""
    with pytest.raises(InvalidSettings, match=r"no sequence 'saal'.*Did you mean 'seal'"):
        retiring.plan(None, sealed, RecordSettings(sequences={"saal": RetentionPolicy(keep_last=1)}))
