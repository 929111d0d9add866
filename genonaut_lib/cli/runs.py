"""Commands that read the records of runs: list, show, verify.

What reads records takes some time to import, so each command imports it itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genonaut_lib.cli import reading, reaping, retiring
from genonaut_lib.cli.options import AsJson, Env, out, print_json, print_table
from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidInput
from genonaut_lib.migration import ledger
from genonaut_lib.settings import Settings, load_settings

if TYPE_CHECKING:
    from genonaut_lib.runs.record_view import Record
    from genonaut_lib.runs.records.audit.findings import Findings

CONTRADICTED = 1
MOST_PROBLEMS = 100
DEFAULT_LIMIT = 20

Limit = Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")]
FilesOnly = Annotated[bool, typer.Option("--files-only", help="Do not ask the database.")]

runs = typer.Typer(
    rich_markup_mode="rich",
    help="""Read the records of runs, and verify that nobody changed them.

    genonaut runs --env demo
    genonaut runs show 3f2a --env demo
    genonaut runs verify --env demo

Without a command the runs are listed.""",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.add_typer(runs, name="runs", rich_help_panel="Migration")


runs.command()(reaping.reap)
runs.command()(reading.diff)
runs.command("open")(reading.open_run)
runs.command()(retiring.retire)


@runs.callback(invoke_without_command=True)
def overview(context: typer.Context, env: Env = None, limit: Limit = DEFAULT_LIMIT, as_json: AsJson = False) -> None:
    """List the runs unless a command is given."""
    if context.invoked_subcommand is None:
        _list(env, limit, as_json)
    elif env is not None or limit != DEFAULT_LIMIT or as_json:
        raise InvalidInput(
            f"The options stand before {context.invoked_subcommand!r}.",
            hint=f"Put them behind it: genonaut runs {context.invoked_subcommand} --env demo",
        )


@runs.command("list")
def list_runs(env: Env = None, limit: Limit = DEFAULT_LIMIT, as_json: AsJson = False) -> None:
    """List the runs of notebooks that the ledger holds, and the notebooks there
    are.

    A run is ok, failed, cancelled, running, or lost, which says that the process
    behind it is gone.

        genonaut runs list --env demo
        genonaut runs list --env demo --limit 200 --json
    """
    _list(env, limit, as_json)


@runs.command()
def show(
    run: Annotated[str, typer.Argument(help="The id of a run, or its beginning: four characters at least.")],
    env: Env = None,
    files_only: FilesOnly = False,
    as_json: AsJson = False,
) -> None:
    """Show one run: what ran, when, by whom, how it ended, its parameters, its
    files, and where its record stands in the chain.

        genonaut runs show 3f2a --env demo
        genonaut runs show 3f2a --env demo --json
    """
    from genonaut_lib.runs.record_view import record_of
    from genonaut_lib.runs.records.sealing import environment_folder

    settings = load_settings(env)
    with _database(settings, files_only) as connection:
        record = record_of(connection, environment_folder(settings), run)
    if as_json:
        print_json(_plain(record))
        return
    print_table(f"Run {record.run_id}", ["what", "value"], _figures(record).items())
    print_table("Parameters", ["name", "value"], ((key, str(held)) for key, held in (record.parameters or {}).items()))
    print_table("Files", ["what", "path", "state"], record.files)
    for problem in record.troubles:
        out.print(problem.sentence, style="bold red", markup=False)


@runs.command()
def verify(
    env: Env = None,
    public_key: Annotated[
        Path | None,
        typer.Option("--public-key", metavar="FILE", help="Believe only the public keys of this PEM file."),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option("--head", metavar="HASH", help="A head noted down earlier, which must still be in the chain."),
    ] = None,
    files_only: FilesOnly = False,
    as_json: AsJson = False,
) -> None:
    """Verify the chain of records: name every record that was edited, deleted,
    moved, cut off or put in, and every file that is not as it was sealed. Only
    reads.

    Files and ledger are compared with each other. Note the head it prints, and
    give it to a later verification with --head: then putting everything back to
    an older state shows as well.

        genonaut runs verify --env production
        genonaut runs verify --env production --public-key auditor.pem --json

    Exit codes: 0 all is as it was sealed; 1 it is not; 2 refused.
    """
    from genonaut_lib.runs.records import chain, signing
    from genonaut_lib.runs.records.sealing import environment_folder

    settings = load_settings(env)
    trust = None if public_key is None else signing.trust_in(public_key)
    with _database(settings, files_only) as connection:
        findings = chain.verify(connection, environment_folder(settings), trust, head)
    if as_json:
        shown = {name: value for name, value in vars(findings).items() if name != "problems"}
        print_json({"holds": findings.holds, **shown, "problems": [vars(one) for one in findings.problems]})
    else:
        _print_findings(findings)
    raise typer.Exit(0 if findings.holds else CONTRADICTED)


@runs.command("accept-ledger")
def accept_ledger(
    ledger_id: Annotated[str, typer.Argument(help="The ledger that is gone, as `verify` names it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it is gone, for whoever audits this.")],
    env: Env = None,
    files_only: FilesOnly = False,
) -> None:
    """Record that the ledger of earlier records is gone for a known reason, as
    when a database was made anew. The entry is sealed like a run's record.

        genonaut runs accept-ledger 5f0c... --reason "dev database made anew" -e dev
    """
    from genonaut_lib.migration.actors import actor
    from genonaut_lib.runs.records import chain, signing
    from genonaut_lib.runs.records.sealing import environment_folder

    settings = load_settings(env)
    key, folder = signing.signing_key(settings), environment_folder(settings)
    with _database(settings, files_only) as connection:
        link = chain.accept_ledgers(connection, folder, [ledger_id], chain.Decision(reason, actor()), key)
    out.print(f"Sealed as record {link.place}.", markup=False)


@contextlib.contextmanager
def _database(settings: Settings, files_only: bool) -> Iterator[Connection | None]:
    if files_only:
        yield None
        return
    with engine.session(settings, writing=False) as connection:
        yield connection


def _list(env: str | None, limit: int, as_json: bool) -> None:
    from genonaut_lib.runs.engine import notebook_names

    settings = load_settings(env)
    columns = ["run_id", "notebook", "state", "actor", "started_at", "ended_at", "output_path", "failure"]
    with engine.session(settings, writing=False) as connection:
        found = ledger.exists(connection)
        rows = connection.execute(block("ledger", "list_runs").sql(), {"limit": limit}).fetchall() if found else []
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    shown = [(str(row[0])[:8], row[1], row[2], row[3], f"{row[4]:%Y-%m-%d %H:%M:%S}", row[6]) for row in rows]
    print_table("Runs", ["run", "notebook", "state", "actor", "started", "record"], shown)
    out.print(f"Notebooks: {', '.join(notebook_names())}")


def _figures(record: Record) -> dict[str, Any]:
    """Return what is shown of a run, the chain's part last; without a link, what the ledger says."""
    row, link = record.row, record.link
    if link is None:
        state = {} if row is None else {name: str(getattr(row, name)) for name in ("notebook", "state", "actor")}
        return {**state, **_allowance(record), "record": "not sealed yet"}
    content = {name: held for name, held in link.content.items() if name not in ("run_id", "files")}
    entered = "files only" if record.entered is None else f"row {record.entered.place} of the ledger"
    sealing = {
        "sealed at": link.body.get("sealed_at"),
        "sealed by": link.body.get("sealed_by"),
        "chain": f"record {link.place} of folder {link.folder.id[:12]}, {entered}",
        "hash": link.hash,
        "previous": link.previous,
        "signed with key": link.key or "not signed",
    }
    return {**({} if row is None else {"state": row.state}), **content, **_allowance(record), **sealing}


def _allowance(record: Record) -> dict[str, str]:
    """Return who allowed what a run applied, and who approved what a dry run showed."""
    told = None if record.link is None else record.link.content.get("approval")
    shown = {"plan approved by": ", ".join(f"{one.approver}, approval {one.approval_id}" for one in record.approvals)}
    allowed = f"{told['approver']}, approval {told['id']} of plan {told['plan_digest']}" if told else ""
    return {name: text for name, text in {**shown, "approval": allowed}.items() if text}


def _plain(record: Record) -> dict[str, Any]:
    return {
        "run_id": record.run_id,
        "state": None if record.row is None else record.row.state,
        "parameters": record.parameters,
        "link": None if record.link is None else record.link.body,
        "ledger_place": None if record.entered is None else record.entered.place,
        "files": [dict(zip(("role", "path", "state"), file, strict=True)) for file in record.files],
        "approvals": [{**one.told, "approved_at": one.approved_at, "note": one.note} for one in record.approvals],
        "retired": record.is_retired,
        "problems": [vars(problem) for problem in record.troubles],
    }


def _print_findings(findings: Findings) -> None:
    for problem in findings.problems[:MOST_PROBLEMS]:
        out.print(f"{problem.kind:9} {problem.sentence}", style="red", markup=False)
    if (more := len(findings.problems) - MOST_PROBLEMS) > 0:
        out.print(f"and {more} more; --json shows all.")
    for remark in findings.remarks:
        out.print(remark, markup=False)
    for key in findings.keys:
        out.print(f"Signed with key {key}.")
    out.print(f"Head: {findings.head or 'none'}")
    verdict = "all is as it was sealed" if findings.holds else f"{len(findings.problems)} contradictions"
    out.print(f"{findings.records} records: {verdict}.", style="bold green" if findings.holds else "bold red")
