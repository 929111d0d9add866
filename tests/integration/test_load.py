"""Loading content files: what gets in, what is put aside, and what is loaded once only."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from genonaut_lib.content import seeding
from genonaut_lib.content.seeding import LoadResult, content_file, debian_file
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import AlreadyMigrated, InvalidInput
from genonaut_lib.migration.phases import Context
from genonaut_lib.vocabulary import ContentSource
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.migration.test_phases import apply_before

Command = Callable[..., Ended]
GOOD = b'{"title": "good", "tags": ["anime"]}'
BAD = {
    "not JSON": (b'{"title": "cut', "not JSON"),
    "not an object": (b'["a list"]', "not a JSON object but list"),
    "no title": (b'{"tags": []}', "title: Field required"),
    "empty title": (b'{"title": ""}', "title: String should have at least 1 character"),
    "long title": (json.dumps({"title": "x" * 256}).encode(), "title: String should have at most 255 characters"),
    "long creator": (json.dumps({"title": "x", "creator": "y" * 151}).encode(), "creator"),
    "not UTF-8": (b'{"title": "caf\xe9"}', "not UTF-8"),
    "NUL": (b'{"title": "a\\u0000b"}', "holds a NUL character"),
    "NUL in a tag": (b'{"title": "a", "tags": ["\\u0000"]}', "holds a NUL character"),
    "half a pair": (b'{"title": "a", "tags": ["\\ud83d"]}', "holds half a surrogate pair"),
    "NaN": (b'{"title": "a", "tags": [NaN]}', "NaN is not a JSON number"),
    "beyond a double": (b'{"title": "a", "tags": [1e999]}', "beyond a double"),
    "beyond an integer": (b'{"title": "a", "tags": [1' + b"0" * 5000 + b"]}", "integer string conversion"),
    "deep": (b'{"title": "a", "tags": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    "unknown source": (b'{"title": "a", "source": "manual"}', "neither 'regular' nor 'auto'"),
    "source of another type": (b'{"title": "a", "source": ["regular", "items", "content_items"]}', "source"),
    "quality out of range": (b'{"title": "a", "quality_score": 1.5}', "quality_score"),
    "no date": (b'{"title": "a", "created_at": "yesterday"}', "created_at"),
}


def write(folder: Path, name: str, lines: list[bytes]) -> Path:
    path = folder / name
    content = b"\n".join(lines) + b"\n"
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def load(connection: Connection, path: Path) -> LoadResult:
    return seeding.load(connection, content_file(path), path.parent / "rejects")


def titles(connection: Connection) -> list[str]:
    query = "select title from content_items union all select title from content_items_auto order by 1"
    return [row[0] for row in connection.execute(query).fetchall()]


def item(connection: Connection, columns: str) -> tuple[object, ...]:
    """Return columns of the only item there is."""
    query = f"select {columns} from (select * from content_items union all select * from content_items_auto) c"
    (row,) = connection.execute(query).fetchall()  # type: ignore[arg-type]
    return row


def test_the_debian_set_loads_without_a_reject(command: Command, connection: Connection) -> None:
    """`genonaut load --debian` says what it did and leaves with 0."""
    ended = command("load", "--debian", "--env", "test")
    assert (ended.code, "Loaded 29,795 items" in ended.said, "rejected 0 lines" in ended.said) == (0, True, True)
    assert len(titles(connection)) == 29_795


def test_the_debian_set_is_spread_over_both_sources(connection: Connection, gallery: Gallery, tmp_path: Path) -> None:
    """One line in four is regular, every item has a creator, and dates follow the file's order."""
    seeding.load(connection, debian_file(), tmp_path)
    counts = [
        connection.execute(f"select count(*), count(distinct created_at) from {source.table}").fetchone()  # type: ignore[arg-type]
        for source in ContentSource
    ]
    assert counts == [(7_448, 7_448), (22_347, 22_347)]


def test_a_file_with_bad_lines_loads_the_rest_and_leaves_with_3(
    command: Command, connection: Connection, project: Path
) -> None:
    """Each bad line is in the rejects file with its number; the good ones around them are loaded."""
    lines = [line for bad, _ in BAD.values() for line in (bad, GOOD)]
    ended = command("load", str(write(project, "mixed.jsonl", lines)), "--env", "test")
    rejects = project / "outputs" / "test" / "rejects" / "mixed.rejects.jsonl"
    found = [json.loads(line)["line"] for line in rejects.read_text().splitlines()]
    assert (ended.code, str(rejects) in ended.said) == (3, True)
    assert titles(connection) == ["good"] * len(BAD)
    assert found == list(range(1, 2 * len(BAD), 2))


def test_every_reject_says_why(connection: Connection, gallery: Gallery, tmp_path: Path) -> None:
    """A person can act upon each reason."""
    result = load(connection, write(tmp_path, "bad.jsonl", [bad for bad, _ in BAD.values()]))
    assert result.rejects_file is not None
    reasons = [json.loads(line)["reason"] for line in result.rejects_file.read_text().splitlines()]
    pairs = zip(BAD, BAD.values(), reasons, strict=True)
    assert {kind: reason for kind, (_, wanted), reason in pairs if wanted not in reason} == {}


def test_what_only_looks_bad_is_loaded(connection: Connection, gallery: Gallery, tmp_path: Path) -> None:
    """Backslashes, tabs, quotes, emoji, the text backslash-u0000, blank lines and Windows line ends are content."""
    names = ["\\N", "a\tb", 'quote " here', "\U0001f600", "\\u0000", "\\.", "é"]
    lines = [json.dumps({"title": name, "tags": [name]}).encode() + b"\r" for name in names] + [b"", b"  "]
    result = load(connection, write(tmp_path, "odd.jsonl", lines))
    assert (result.items_loaded, result.lines_rejected) == (7, 0)
    assert titles(connection) == sorted(names) or set(titles(connection)) == set(names)


def test_the_same_file_twice_does_nothing_the_second_time(
    command: Command, connection: Connection, project: Path
) -> None:
    """The second load says so and leaves with 0."""
    path = str(write(project, "once.jsonl", [GOOD, b"not json"]))
    assert command("load", path, "--env", "test").code == 3
    again = command("load", path, "--env", "test")
    assert (again.code, "was loaded before" in again.said) == (0, True)
    assert titles(connection) == ["good"]


def test_a_changed_file_of_the_same_name_is_another_file(
    connection: Connection, gallery: Gallery, tmp_path: Path
) -> None:
    """What counts is the content."""
    load(connection, write(tmp_path, "file.jsonl", [GOOD]))
    assert load(connection, write(tmp_path, "file.jsonl", [GOOD, GOOD])).items_loaded == 2


def test_gz_and_plain_hold_the_same(connection: Connection, gallery: Gallery, tmp_path: Path) -> None:
    """A packed file loads like a plain one."""
    lines = [GOOD] * 10
    assert load(connection, write(tmp_path, "a.jsonl", lines)).items_loaded == 10
    assert load(connection, write(tmp_path, "b.jsonl.gz", lines)).items_loaded == 10


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_cut_gzip_is_refused_and_loads_nothing(
    kept: float, command: Command, connection: Connection, project: Path
) -> None:
    """However much of it is there, the refusal names the file."""
    path = write(project, "cut.jsonl.gz", [json.dumps({"title": f"item {no}"}).encode() for no in range(3_000)])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    ended = command("load", str(path), "--env", "test")
    assert (ended.code, "cut.jsonl.gz is not a whole gzip file" in ended.said) == (2, True)
    assert titles(connection) == []


def test_a_plain_file_called_gz_is_refused(gallery: Gallery, connection: Connection, tmp_path: Path) -> None:
    """The name promised what the content does not hold."""
    path = tmp_path / "plain.jsonl.gz"
    path.write_bytes(GOOD)
    with pytest.raises(InvalidInput, match="not a whole gzip file"):
        load(connection, path)


@pytest.mark.parametrize("name", ["missing.jsonl", "table.csv"])
def test_a_file_that_is_none_is_refused(name: str, command: Command, project: Path) -> None:
    """A missing file and one of another kind are sentences with exit code 2."""
    (project / "table.csv").write_text("title\n")
    ended = command("load", name, "--env", "test")
    assert (ended.code, name in ended.said) == (2, True)


def test_a_load_that_fails_half_way_leaves_nothing(
    connection: Connection, gallery: Gallery, tmp_path: Path, second_session: Callable[[], Connection]
) -> None:
    """A session lost in the middle takes its lines with it."""
    path = write(tmp_path, "many.jsonl", [GOOD] * 3_000)
    other = second_session()

    def kill(done: int, total: int) -> None:
        if done == 2_000:
            other.execute("select pg_terminate_backend(%s)", [connection.info.backend_pid])

    with pytest.raises(Exception, match=r"terminat|closed|lost"):
        seeding.load(connection, content_file(path), tmp_path, kill)
    assert titles(other) == []


def test_fields_of_a_line_land_in_their_columns(connection: Connection, gallery: Gallery, tmp_path: Path) -> None:
    """What the schema has no column for is kept as metadata."""
    line = {
        "name": "cat", "maintainer": 7, "source": "regular", "content_type": "image", "prompt": "a cat",
        "created_at": "2024-02-03T04:05:06+00:00", "quality_score": 0.5, "is_private": True, "width": 512,
    }  # fmt: skip
    load(connection, write(tmp_path, "one.jsonl", [json.dumps(line).encode()]))
    found = item(connection, "title, content_type, prompt, quality_score, is_private, item_metadata, created_at::text")
    assert found[:6] == ("cat", "image", "a cat", 0.5, True, {"width": 512})
    assert str(found[6]).startswith("2024-02-03")


def test_dirty_tags_are_loaded_as_they_stand(connection: Connection, gallery: Gallery, tmp_path: Path) -> None:
    """Judging them is the migration's business."""
    dirty = [None, "anime", {"a": 1}, [], [1, None, ["x"]], 5, True]
    lines = [json.dumps({"title": "a", "tags": tags, "source": "auto"}).encode() for tags in dirty]
    load(connection, write(tmp_path, "dirty.jsonl", lines))
    rows = connection.execute("select tags from content_items_auto order by id").fetchall()
    assert [row[0] for row in rows] == dirty


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-12:00"])
def test_a_date_at_the_edge_of_the_calendar_is_rejected_or_readable(
    date: str, connection: Connection, gallery: Gallery, tmp_path: Path
) -> None:
    """What was loaded can be read again."""
    result = load(connection, write(tmp_path, "old.jsonl", [json.dumps({"title": "a", "created_at": date}).encode()]))
    query = "select created_at from content_items union all select created_at from content_items_auto"
    assert len(connection.execute(query).fetchall()) == result.items_loaded


def test_an_empty_file_loads_nothing_and_is_no_error(command: Command, project: Path) -> None:
    """No line is no reject."""
    (project / "empty.jsonl").touch()
    ended = command("load", "empty.jsonl", "--env", "test")
    assert (ended.code, "Loaded 0 items" in ended.said) == (0, True)


def test_loading_after_the_expand_phase_is_refused(context: Context, gallery: Gallery, tmp_path: Path) -> None:
    """The legacy schema is gone; a legacy line has no place any more."""
    apply_before(context, "backfill_tag_uuids")
    with pytest.raises(AlreadyMigrated, match="left the legacy schema"):
        load(context.connection, write(tmp_path, "late.jsonl", [GOOD]))


def test_a_file_loaded_before_the_migration_is_still_known_after_it(
    context: Context, gallery: Gallery, tmp_path: Path
) -> None:
    """Repeating a command that was carried out is no error."""
    path = write(tmp_path, "early.jsonl", [GOOD])
    load(context.connection, path)
    apply_before(context, "backfill_tag_uuids")
    assert load(context.connection, path).repeated


def test_two_files_name_the_same_creator_without_a_clash(
    connection: Connection, gallery: Gallery, tmp_path: Path
) -> None:
    """A creator belongs to a data set."""
    line = json.dumps({"title": "a", "creator": "ada"}).encode()
    load(connection, write(tmp_path, "one.jsonl", [line, line]))
    load(connection, write(tmp_path, "two.jsonl", [line]))
    names = connection.execute("select username from users order by 1").fetchall()
    assert names == [("one.jsonl/ada",), ("two.jsonl/ada",)]
