"""A second person: what cannot be taken back is applied once somebody else has approved the very plan."""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from genonaut_lib.cli import options
from genonaut_lib.cli.app import run_guarded
from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import ApprovalMissing, CannotApprove, PlanChanged, SecretInParameter, WrongEnvironment
from genonaut_lib.migration import approvals, ledger, revisions
from genonaut_lib.migration.actors import account
from genonaut_lib.migration.approvals import Approval, require_approved
from genonaut_lib.migration.ledger import RunStart
from genonaut_lib.migration.phases import Context, SchemaPhase
from genonaut_lib.migration.phases.drop_legacy_tags import CONFIRMATION, DropLegacyTags
from genonaut_lib.migration.plan import Action, Plan, action
from genonaut_lib.runs import approving
from genonaut_lib.runs.approving import approve, shown
from genonaut_lib.runs.records import chain, sealing
from genonaut_lib.settings import Settings, load_settings
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.integration.stage import staged
from tests.migration.test_phases import apply_before

HOST = socket.gethostname()
REQUIRED = "GENONAUT_APPROVAL__REQUIRED"
STEPS = tuple(
    action(f"analyze:{table}", block("upkeep", "analyze"), table=table, reversible=table != "tags")
    for table in ("users", "tags", "content_items")
)


@dataclass(frozen=True)
class NoReturn(SchemaPhase):
    """A phase that cannot be taken back, without anything to do; each test has one of its own name."""

    name: str = ""
    title: str = "No return"
    notebook: str = "13_drop_legacy_tags"
    revision: str = ""
    before: str = ""
    steps: tuple[Action, ...] = STEPS

    def actions(self) -> list[Action]:
        return list(self.steps)

    def plan(self, context: Context) -> Plan:
        return Plan(self.name, self.steps)


@dataclass
class Desk:
    """A ledger, a phase of the test's own, and people who run, approve and apply by their names."""

    connection: Connection
    phase: NoReturn
    patch: pytest.MonkeyPatch

    @property
    def settings(self) -> Settings:
        return load_settings("test")

    @property
    def plan(self) -> Plan:
        return Plan(self.phase.name, self.phase.steps)

    def run(self, actor: str, state: str = "ok", plan: Plan | None = None, **parameters: Any) -> uuid.UUID:
        """Leave what a run that showed a plan leaves in the ledger; a dry one unless parameters say otherwise."""
        given = {"environment": "test", "dry_run": True, **parameters}
        start = RunStart(uuid.uuid4(), self.phase.notebook, actor, given, "0f")
        ledger.start_run(self.connection, start)
        approvals.record_plan(replace(self._context, run_id=start.run_id), plan or self.plan)
        if state != "running":
            ledger.end_run(self.connection, start.run_id, state, None)
        return start.run_id

    def approve(self, name: str, run: uuid.UUID, note: str | None = None, seat: str | None = None) -> Approval:
        """Approve as somebody, from an account of their own unless another is named."""
        self.patch.setenv("LOGNAME", name)
        self.patch.setattr(approving, "account", lambda: seat or f"uid of {name}@{HOST}")
        return approve(self.settings, str(run), note).approval

    def apply(self, name: str, plan: Plan | None = None) -> Approval | None:
        """Ask for what an apply asks for before it does anything, as the run of somebody."""
        run_id = self.run(f"{name}@{HOST}", "running", dry_run=False)
        return require_approved(self.phase, replace(self._context, run_id=run_id), plan or self.plan)

    @property
    def _context(self) -> Context:
        return Context(self.connection, self.settings)


@pytest.fixture(scope="module")
def session(admin_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """One adopted database for this file; tests are kept apart by the names of their phases."""
    with (
        staged(admin_url, tmp_path_factory.mktemp("project")) as stage,
        engine.connect(stage.settings) as connection,
    ):
        yield connection


@pytest.fixture
def desk(session: Connection, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Where a second person is asked for."""
    monkeypatch.setenv(REQUIRED, "true")
    return Desk(session, NoReturn(name=f"phase_{abs(hash(request.node.name))}"), monkeypatch)


def test_another_person_approves_and_the_run_says_so(desk: Desk) -> None:
    """Whoever made the dry run may apply it then; the row of the applying run names approval, person and digest."""
    given = desk.approve("bob", desk.run(f"ada@{HOST}"), "backup checked")
    used = desk.apply("ada")
    row = desk.connection.execute("select approval from workbench.runs order by started_at desc limit 1").fetchone()
    assert used is not None
    assert row == (used.told,)
    assert (used.told["approver"], used.told["plan_digest"]) == (f"bob@{HOST}", desk.plan.digest)
    assert (used.approval_id, used.note, used.digest) == (given.approval_id, "backup checked", given.digest)


def test_a_borrowed_name_is_no_second_person(desk: Desk) -> None:
    """Whoever puts another name into the environment approves from the account that applies, and that is refused."""
    run = desk.run(f"ada@{HOST}")
    desk.approve("bob", run, seat=account())
    with pytest.raises(ApprovalMissing, match=f"bob@{HOST} approved this plan from the account that applies it"):
        desk.apply("ada")
    assert desk.approve("grace", run).approver == f"grace@{HOST}"
    assert desk.apply("ada") is not None


def test_nobody_approves_his_own_run(desk: Desk) -> None:
    """Neither here nor from another machine, where the same user has another host."""
    for host in (HOST, "elsewhere"):
        with pytest.raises(CannotApprove, match="no second person"):
            desk.approve("ada", desk.run(f"ada@{host}"))


def test_nobody_applies_what_only_he_approved(desk: Desk) -> None:
    """An approval is another person's than the one who applies, whoever made the dry run."""
    desk.approve("bob", desk.run(f"ada@{HOST}"))
    with pytest.raises(ApprovalMissing, match=f"Only bob@{HOST}, who runs it"):
        desk.apply("bob")
    assert desk.apply("carol") is not None


def test_without_an_approval_the_refusal_is_the_command_to_type(desk: Desk) -> None:
    """It names the newest dry run of this very plan, or the dry run that is to be made first."""
    with pytest.raises(ApprovalMissing, match="genonaut run 13_drop_legacy_tags --env test --dry-run"):
        desk.apply("ada")
    run = desk.run(f"ada@{HOST}")
    with pytest.raises(ApprovalMissing, match=f"No second person.*genonaut approve {run.hex[:8]} --env test"):
        desk.apply("ada")


def test_an_approval_holds_for_as_long_as_settings_say(desk: Desk) -> None:
    """Its age is the server's to tell; a newer one from the same person holds again."""
    desk.patch.setenv("GENONAUT_APPROVAL__VALID_H", "2")
    columns = "environment, phase, plan_digest, plan, approver, account, approved_at"
    desk.connection.execute(
        f"insert into workbench.approvals (run_id, {columns}) values (%s, 'test', %s, %s, %s, 'bob@b', 'u',"  # type: ignore[arg-type]
        " now() - interval '3 h')",
        [uuid.uuid4(), desk.phase.name, desk.plan.digest, json.dumps(desk.plan.content)],
    )
    with pytest.raises(ApprovalMissing, match=r"bob@b approved this plan 3\.0 h ago, and an approval holds for 2 h"):
        desk.apply("ada")
    desk.approve("bob", desk.run(f"ada@{HOST}"))
    assert desk.apply("ada") is not None


def test_an_approval_that_contradicts_itself_allows_nothing(desk: Desk) -> None:
    """Its digest is that of its plan, or somebody has put another plan under it; its giver can give a whole one."""
    wider = Plan(desk.phase.name, (*STEPS, replace(STEPS[0], id="analyze:other")))
    desk.connection.execute(
        "insert into workbench.approvals (run_id, environment, phase, plan_digest, plan, approver, account)"
        " values (%s, 'test', %s, %s, %s, %s, 'u')",
        [uuid.uuid4(), desk.phase.name, desk.plan.digest, json.dumps(wider.content), f"bob@{HOST}"],
    )
    with pytest.raises(ApprovalMissing, match="No second person"):
        desk.apply("ada")
    desk.approve("bob", desk.run(f"ada@{HOST}"))
    assert desk.apply("ada") is not None


@pytest.mark.parametrize(
    "steps",
    [(*STEPS, replace(STEPS[0], id="analyze:other")), (replace(STEPS[0], lock="ACCESS EXCLUSIVE"), *STEPS[1:]),
     tuple(reversed(STEPS))],
    ids=["one more", "another lock", "another order"],
)  # fmt: skip
def test_another_plan_than_the_approved_one_is_refused(steps: tuple[Action, ...], desk: Desk) -> None:
    """What was approved is these statements with these locks in this order; the refusal says what is new."""
    desk.approve("bob", desk.run(f"ada@{HOST}"))
    with pytest.raises(PlanChanged, match=f"bob@{HOST} approved; not in that one: analyze"):
        desk.apply("ada", Plan(desk.phase.name, steps))


def test_what_is_left_of_an_approved_plan_is_approved(desk: Desk) -> None:
    """A run that goes on where a killed one stopped has a shorter plan, which has another digest."""
    desk.approve("bob", desk.run(f"ada@{HOST}"))
    for rest in (STEPS[1:], STEPS[2:], STEPS[:1]):
        assert desk.apply("ada", Plan(desk.phase.name, rest)) is not None


def test_nobody_is_asked_where_nothing_is_final_or_nothing_is_left(desk: Desk) -> None:
    """Another phase, an empty plan, and an environment that wants no second person go straight through."""
    assert desk.apply("ada", Plan(desk.phase.name, ())) is None
    harmless = NoReturn(name=desk.phase.name, steps=STEPS[:1])
    assert replace(desk, phase=harmless).apply("ada") is None
    desk.patch.setenv(REQUIRED, "false")
    assert desk.apply("ada") is None


@pytest.mark.parametrize(
    ("run", "refusal"),
    [
        ({"state": "failed"}, "ended as failed"),
        ({"state": "lost"}, "ended as lost"),
        ({"state": "running"}, "still at work"),
        ({"dry_run": False}, "no dry run"),
    ],
)
def test_only_a_dry_run_that_ended_well_is_approved(run: dict[str, Any], refusal: str, desk: Desk) -> None:
    """What a run did not come to show was seen by nobody."""
    with pytest.raises(CannotApprove, match=refusal):
        desk.approve("bob", desk.run(f"ada@{HOST}", **run))


def test_a_run_of_another_environment_is_refused(desk: Desk) -> None:
    """The approver says which environment is meant."""
    with pytest.raises(WrongEnvironment, match="Say --env dev"):
        desk.approve("bob", desk.run(f"ada@{HOST}", environment="dev"))


def test_an_unknown_run_is_refused(desk: Desk) -> None:
    """A slip of the finger approves nothing."""
    with pytest.raises(CannotApprove, match="No run of this database begins"):
        desk.approve("bob", uuid.uuid4())


def test_a_run_without_a_plan_is_refused(desk: Desk) -> None:
    """A notebook that can be taken back records no plan."""
    start = RunStart(uuid.uuid4(), "10_seed_tags", f"ada@{HOST}", {"environment": "test", "dry_run": True}, "0f")
    ledger.start_run(desk.connection, start)
    ledger.end_run(desk.connection, start.run_id, "ok", None)
    with pytest.raises(CannotApprove, match="no plan digest"):
        desk.approve("bob", start.run_id)


def test_a_dry_run_that_is_too_old_is_refused(desk: Desk) -> None:
    """What was shown so long ago may not be what is there now."""
    run = desk.run(f"ada@{HOST}")
    late = "update workbench.runs set started_at = started_at - interval '73 h' where run_id = %s"
    desk.connection.execute(late, [run])
    with pytest.raises(CannotApprove, match=r"73\.0 h old; 72 h are allowed"):
        desk.approve("bob", run)


@pytest.mark.parametrize(
    "change", ["plan = jsonb_set(plan, '{actions,0,statement}', '\"drop table users\"')", "plan_digest = 'f00'"]
)
def test_a_plan_that_was_changed_in_the_ledger_is_refused(change: str, desk: Desk) -> None:
    """Nobody can put another plan under an eye that approves."""
    run = desk.run(f"ada@{HOST}")
    desk.connection.execute(f"update workbench.runs set {change} where run_id = %s", [run])  # type: ignore[arg-type]
    with pytest.raises(CannotApprove, match="changed since"):
        desk.approve("bob", run)


def test_approving_twice_is_harmless(desk: Desk) -> None:
    """The same person's approval of the same plan stays the one it was."""
    run = desk.run(f"ada@{HOST}")
    assert desk.approve("bob", run).approval_id == desk.approve("bob", run).approval_id
    assert desk.approve("carol", run).approver == f"carol@{HOST}"


def test_a_note_holds_no_secret(desk: Desk) -> None:
    """It would stand in the ledger for ever."""
    with pytest.raises(SecretInParameter):
        desk.approve("bob", desk.run(f"ada@{HOST}"), "postgresql://ada:canary-7f3a@host/gallery")


@pytest.mark.parametrize(
    "statement",
    [
        "update workbench.approvals set approver = 'x'",
        "delete from workbench.approvals",
        "truncate workbench.approvals",
    ],
)
def test_the_table_takes_new_rows_only(statement: str, desk: Desk) -> None:
    """Its owner is refused as well, and a session that calls itself a replica."""
    desk.approve("bob", desk.run(f"ada@{HOST}"))
    for role in ("origin", "replica"):
        with desk.connection.transaction(force_rollback=True):
            desk.connection.execute(sql.SQL("set local session_replication_role = {}").format(sql.Literal(role)))
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="takes new rows only"):
                desk.connection.execute(statement)


def test_a_role_of_the_ledger_alone_can_approve(desk: Desk) -> None:
    """The grants of docs/records.md are enough; such a role can neither apply anything nor change an approval."""
    role, run = f"approver_{os.getpid()}", desk.run(f"ada@{HOST}")
    text = (Path(__file__).parents[2] / "docs" / "records.md").read_text()
    grants = [line.strip().rstrip(";") for line in text.splitlines() if line.strip().endswith("to approver;")]
    address = str(desk.settings.database_url.get_secret_value()) if desk.settings.database_url else ""
    # On a server that checks passwords it has the one of whoever tests.
    password = sql.Literal(psycopg.conninfo.conninfo_to_dict(address).get("password"))
    desk.connection.execute(sql.SQL("create role {} login password {}").format(sql.Identifier(role), password))
    for grant in grants:
        desk.connection.execute(sql.SQL(grant.replace("approver", "{role}")).format(role=sql.Identifier(role)))
    desk.patch.setenv("DATABASE_URL", psycopg.conninfo.make_conninfo(address, user=role))
    try:
        found = desk.approve("bob", run, seat=account())
    finally:
        desk.connection.execute(sql.SQL("drop owned by {}").format(sql.Identifier(role)))
        desk.connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
    assert (found.database_user, found.account) == (role, account())


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run `genonaut` as somebody, in a project whose one pipeline is the point of no return."""
    root = Path(__file__).parents[2]
    for part in ("notebooks", "migrations", "alembic.ini"):
        (tmp_path / part).symlink_to(root / part)
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "test.yaml").write_text((root / "params" / "test.yaml").read_text())
    (tmp_path / "params" / "pipelines.yaml").write_text("final: [13_drop_legacy_tags]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(REQUIRED, "true")
    monkeypatch.setattr(options.out, "_width", 500)

    def run(name: str, *arguments: str) -> Ended:
        monkeypatch.setenv("LOGNAME", name)
        monkeypatch.setattr(approving, "account", lambda: f"uid of {name}@{HOST}")
        code = run_guarded([*arguments, "--env", "test"])
        captured = capsys.readouterr()
        return Ended(code, captured.out + captured.err)

    return run


def test_the_point_of_no_return_waits_for_a_second_person(
    people: Callable[..., Ended], context: Context, gallery: Gallery
) -> None:
    """Refused with exit code 2 and nothing done; approved, applied from where a killed start stopped, sealed, shown."""
    gallery.legacy_item(["anime"])
    apply_before(context, "drop_legacy_tags")
    final = ["pipeline", "final", "--apply", "-p", f"13_drop_legacy_tags.confirm={CONFIRMATION}"]
    connection, settings = context.connection, context.settings
    assert people("ada", "run", "13", "--dry-run").code == 0
    run, digest = one(connection, "select run_id, plan_digest from workbench.runs")
    refused = people("ada", *final)
    assert (refused.code, f"genonaut approve {run.hex[:8]} --env test" in refused.said) == (2, True)
    assert one(connection, "select state, failure ->> 'cause' from workbench.runs where run_id <> %s", run) == (
        "failed", "ApprovalMissing",
    )  # fmt: skip
    with pytest.raises(ApprovalMissing):
        revisions.upgrade(load_settings("test"), revisions.DROP_LEGACY_TAGS, CONFIRMATION)
    assert people("ada", "approve", str(run)).code == 2
    require_the_sealed_plan(people, connection, run)
    looked = people("bob", "approve", run.hex[:8], "--dry-run")
    assert all(word in looked.said for word in (digest, "ACCESS EXCLUSIVE", f"ada@{HOST}", "Nothing was written"))
    assert people("bob", "approve", run.hex[:8], "--note", "backup checked").code == 0
    assert "approved this already" in people("bob", "approve", run.hex[:8]).said
    again = json.loads(people("bob", "approve", run.hex[:8], "--json").said)
    assert (again["new"], again["approver"], again["plan_digest"]) == (False, f"bob@{HOST}", digest)
    revisions.run_actions(connection, DropLegacyTags().actions()[:4], settings.database)
    assert people("ada", *final).code == 0
    told = people("ada", "runs", "show", str(newest(connection))).said
    assert f"bob@{HOST}, approval 1 of plan {digest}" in told
    assert f"bob@{HOST}, approval 1" in people("eve", "runs", "show", str(run)).said
    require_named_when_tampered_with(connection, settings)


def require_the_sealed_plan(people: Callable[..., Ended], connection: Connection, run: uuid.UUID) -> None:
    """Put another plan under a dry run, with its right digest: approving goes by what the run was sealed with."""
    put = "update workbench.runs set plan = %s, plan_digest = %s where run_id = %s"
    plan, digest = one(connection, "select plan, plan_digest from workbench.runs where run_id = %s", run)
    other = Plan("drop_legacy_tags", STEPS)
    connection.execute(put, [json.dumps(other.content), other.digest, run])
    refused = people("bob", "approve", str(run))
    connection.execute(put, [json.dumps(plan), digest, run])
    assert (refused.code, "changed since" in refused.said) == (2, True)


def one(connection: Connection, statement: str, *values: Any) -> tuple[Any, ...]:
    row = connection.execute(statement, values).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row


def newest(connection: Connection) -> uuid.UUID:
    found: uuid.UUID = one(connection, "select run_id from workbench.runs order by started_at desc limit 1")[0]
    return found


def require_named_when_tampered_with(connection: Connection, settings: Settings) -> None:
    """Change approval and run as a superuser would who switches the trigger off: each change is named."""
    folder, run = sealing.environment_folder(settings), str(newest(connection))
    assert chain.verify(connection, folder).holds
    for kind, statement in (
        ("edited", "update workbench.approvals set approver = 'eve@host'"),
        ("edited", "update workbench.approvals set plan_digest = 'f00'"),
        ("edited", "update workbench.approvals set approved_at = approved_at + interval '1 s'"),
        ("deleted", "delete from workbench.approvals"),
        ("edited", "update workbench.runs set approval = null where approval is not null"),
    ):
        with connection.transaction(force_rollback=True):
            connection.execute("alter table workbench.approvals disable trigger keep_approvals")
            connection.execute(statement)
            found = chain.verify(connection, folder).problems
        assert (kind, run) in {(problem.kind, problem.run_id) for problem in found}, statement


def test_what_would_be_approved_is_what_was_shown(desk: Desk) -> None:
    """The plan comes back from the ledger as it went in, and its digest is that of the plan made again."""
    asked = shown(desk.connection, desk.settings, desk.run(f"ada@{HOST}").hex[:8])
    assert (asked.plan, asked.plan_digest) == (desk.plan.content, desk.plan.digest)
