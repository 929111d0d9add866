"""Where a run and its kernel meet: a folder for this user alone, with a path that sockets can have."""

from __future__ import annotations

import stat
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from genonaut_lib.runs import kernel_sockets

RUN = uuid.UUID("8a6e0804-2bd0-4672-b79d-d97027f9071a")


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of temporary files, with a short path."""
    with tempfile.TemporaryDirectory(prefix="gt-", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def test_the_folder_is_this_users_alone_and_goes_with_the_run(temporary: Path) -> None:
    """Whatever is in it."""
    with kernel_sockets.sockets(RUN) as beginning:
        folder = Path(beginning).parent
        assert folder.parent == temporary
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        Path(f"{beginning}-1").touch()
    assert list(temporary.iterdir()) == []


def test_a_folder_that_a_killed_runner_left_is_removed_by_its_run(temporary: Path) -> None:
    """Once or more often."""
    (temporary / f"gk-{RUN.hex}").mkdir()
    kernel_sockets.remove(RUN)
    kernel_sockets.remove(RUN)
    assert list(temporary.iterdir()) == []


def test_where_temporary_files_have_long_paths_sockets_have_short_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket's path may have some hundred bytes, whatever letters they make."""
    long = tmp_path / ("é" * 45)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    run = uuid.uuid4()
    with kernel_sockets.sockets(run) as beginning:
        assert Path(beginning).parent == Path("/tmp") / f"gk-{run.hex}"
    assert not Path(beginning).parent.exists()
