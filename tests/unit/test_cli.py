"""The command line explains itself, refuses loudly and leaves with the right code."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import psycopg
import pytest
import typer.main

from genonaut_lib import __version__
from genonaut_lib.cli.app import FAILED, INTERRUPTED, OK, REFUSED, TRY_LATER, app, run_guarded
from genonaut_lib.errors import (
    DatabaseLost,
    DatabaseStarting,
    GenonautError,
    InvalidInput,
    NotebookFailed,
    PipelineBusy,
    RunInterrupted,
)
from genonaut_lib.runs.engine import parse_parameters

COMMANDS = sorted(typer.main.get_command(app).commands)
EXAMPLE = re.compile(r"^ {2,}(\w+=\S+ )*genonaut ", re.MULTILINE)


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are not folded, and a refused command never reaches a database of the user's."""
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("DATABASE_URL", "REDIS_URL", "GENONAUT_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)


def raising(error: BaseException) -> Any:
    """Return a stand-in for a library call that raises."""

    def tell(*arguments: object) -> None:
        raise error

    return tell


def test_there_are_commands() -> None:
    """The tests below see every room of the command line."""
    assert {"adopt", "demo", "down", "generate", "load", "pipeline", "run", "runs", "status", "undo", "up"} <= set(
        COMMANDS
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_an_indented_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Help ends well and shows a line to copy, set off from the prose."""
    assert run_guarded([command, "--help"]) == OK
    assert EXAMPLE.search(capsys.readouterr().out)


@pytest.mark.parametrize("command", ["dump", "diff"])
def test_help_of_the_schema_commands_shows_an_indented_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command within a group explains itself as well."""
    assert run_guarded(["schema", command, "--help"]) == OK
    assert EXAMPLE.search(capsys.readouterr().out)


def test_help_of_the_whole_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """One screen shows what there is."""
    assert run_guarded(["--help"]) == OK
    shown = capsys.readouterr().out
    assert not [command for command in COMMANDS if not re.search(rf"│ {command}\b", shown)]


def test_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A bug report can say which version it is about."""
    assert run_guarded(["--version"]) == OK
    assert capsys.readouterr().out == f"genonaut {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_option_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt option does nothing, says so on standard error, and leaves with code 2."""
    assert run_guarded([command, "--nonsense"]) == REFUSED
    assert "--nonsense" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run"],
        ["undo"],
        ["generate"],
        ["generate", "--shape", "dense", "--items", "0"],
        ["runs", "--limit", "x"],
    ],
)
def test_malformed_command_line_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown commands, missing arguments and values out of range leave with code 2 and a sentence."""
    assert run_guarded(arguments) == REFUSED
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["some.jsonl", "--debian"]], ids=["neither", "both"])
def test_load_wants_exactly_one_source(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A file or the shipped packages, not both and not nothing."""
    assert run_guarded(["load", *arguments]) == REFUSED
    assert "Name one file, or say --debian." in capsys.readouterr().err


def test_load_refuses_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """The path is looked at before any server starts."""
    assert run_guarded(["load", "no-such-file.jsonl"]) == REFUSED
    assert "There is no file no-such-file.jsonl." in capsys.readouterr().err


def test_unknown_environment_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt --env starts nothing and names the nearest."""
    assert run_guarded(["status", "--env", "prodution"]) == REFUSED
    assert "Did you mean 'production'?" in capsys.readouterr().err


def test_unknown_phase_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt phase takes nothing back."""
    assert run_guarded(["undo", "attach_partition"]) == REFUSED
    assert "Did you mean 'attach_partitions'?" in capsys.readouterr().err


def test_unknown_shape_is_refused() -> None:
    """A misspelt shape generates nothing."""
    assert run_guarded(["generate", "--shape", "dens", "--items", "5"]) == REFUSED


def test_parameter_that_is_no_pair_is_refused_by_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A parameter without a value runs no notebook."""
    assert run_guarded(["run", "12", "-p", "repeats"]) == REFUSED
    assert "'repeats' is not key=value." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("No."), REFUSED),
        (NotebookFailed("No."), FAILED),
        (GenonautError("No."), FAILED),
        (PipelineBusy("No."), TRY_LATER),
        (DatabaseStarting("No."), TRY_LATER),
        (DatabaseLost("No."), FAILED),
        (NotebookFailed("No.", cause="BitmapsBusy"), TRY_LATER),
        (NotebookFailed("No.", cause="CheckFailed"), FAILED),
        (NotebookFailed("No.", cause="ApprovalMissing"), REFUSED),
        (NotebookFailed("No.", cause="PlanChanged"), REFUSED),
        (NotebookFailed("No.", cause="no_such_error"), FAILED),
    ],
)
def test_error_becomes_a_sentence_and_a_code(
    error: GenonautError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refusals leave with 2, or 75 where waiting helps, failures with 1, and none shows a traceback."""
    monkeypatch.setattr("genonaut_lib.demo.story.tell", raising(error))
    assert run_guarded(["demo"]) == code
    assert capsys.readouterr().err == "No.\n"


@pytest.mark.parametrize(("by", "code"), [("SIGINT", INTERRUPTED), ("SIGTERM", FAILED), ("SIGHUP", FAILED)])
def test_a_stopped_run_leaves_with_the_code_of_its_signal(by: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that stops a run sees a failure; a person who presses Ctrl-C ends the shell's loop, too."""
    monkeypatch.setattr("genonaut_lib.demo.story.tell", raising(RunInterrupted("No.", by=by)))
    assert run_guarded(["demo"]) == code


def test_the_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever writes a job finds them where they look first."""
    for command in ("run", "pipeline"):
        assert run_guarded([command, "--help"]) == OK
        shown = capsys.readouterr().out
        assert all(f"{code} " in shown for code in (OK, FAILED, REFUSED, TRY_LATER, INTERRUPTED))


def test_run_wants_a_notebook_or_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is guessed."""
    assert run_guarded(["run", "--env", "test"]) == REFUSED
    assert "Which notebook?" in capsys.readouterr().err


def test_message_and_hint_are_shown_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Brackets in a message are text, no markup, and the hint has its own line."""
    monkeypatch.setattr("genonaut_lib.demo.story.tell", raising(InvalidInput("Tag [red]x[/red].", hint="Use [b].")))
    run_guarded(["demo"])
    assert capsys.readouterr().err == "Tag [red]x[/red].\nUse [b].\n"


def test_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C leaves with 130 and a sentence."""
    monkeypatch.setattr("genonaut_lib.demo.story.tell", raising(KeyboardInterrupt()))
    assert run_guarded(["demo"]) == INTERRUPTED
    assert "goes on where it stopped" in capsys.readouterr().err


def test_known_driver_error_becomes_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk is said in words."""
    monkeypatch.setattr("genonaut_lib.demo.story.tell", raising(psycopg.errors.DiskFull("no space")))
    assert run_guarded(["demo"]) == FAILED
    assert "disk" in capsys.readouterr().err


def test_unknown_driver_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours keeps its traceback."""
    monkeypatch.setattr("genonaut_lib.demo.story.tell", raising(psycopg.errors.SyntaxError("at or near")))
    with pytest.raises(psycopg.errors.SyntaxError):
        run_guarded(["demo"])


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("x=5", 5),
        ("x=0.5", 0.5),
        ("x=false", False),
        ("x=after", "after"),
        ("x='5'", "5"),
        ("x=", None),
        ("x=a=b", "a=b"),
        ("x=[1, 2]", [1, 2]),
        ("x=2025-01-02", date(2025, 1, 2)),
    ],
)
def test_parameter_value_is_read_as_yaml(pair: str, value: object) -> None:
    """A number is a number and a word a word; only the first equals sign separates."""
    assert parse_parameters([pair]) == {"x": value}


def test_last_of_two_equal_parameters_wins() -> None:
    """A later -p is laid over an earlier one."""
    assert parse_parameters(["x=1", "y=2", "x=3"]) == {"x": 3, "y": 2}


@pytest.mark.parametrize("pair", ["x", "", "=5", "x: 5"])
def test_parameter_that_is_no_pair_is_refused(pair: str) -> None:
    """What has no name or no equals sign is named in the refusal."""
    with pytest.raises(InvalidInput, match="is not key=value"):
        parse_parameters([pair])


@pytest.mark.parametrize("pair", ["x=[1", "x='a", "x={a", "x=a: b: c", "x=@a"])
def test_parameter_value_that_is_not_yaml_is_refused(pair: str) -> None:
    """A value that does not parse is a refusal, no traceback."""
    with pytest.raises(InvalidInput):
        parse_parameters([pair])


@pytest.mark.parametrize(
    "command", ["list", "popular", "show", "roots", "children", "parents", "descendants", "ancestors"]
)
def test_help_of_the_tag_commands_shows_an_indented_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of them can be copied and tried."""
    assert run_guarded(["tags", command, "--help"]) == OK
    assert EXAMPLE.search(capsys.readouterr().out)
