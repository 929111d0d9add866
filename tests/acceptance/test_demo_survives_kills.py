"""`genonaut demo`, killed at random moments and started again, ends with the same verified counts."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from genonaut_lib.db import embedded, engine
from genonaut_lib.settings import load_settings

GENONAUT = str(Path(sys.executable).with_name("genonaut"))
KILLS = int(os.environ.get("DEMO_KILLS", "3"))
RELATIONSHIPS = {"regular": 111_003, "auto": 1_496_356}
UNMAPPED = 169


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder of the test's own, on embedded servers whatever DATABASE_URL says."""
    for name in ("DATABASE_URL", "REDIS_URL", "GENONAUT_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    with tempfile.TemporaryDirectory(prefix="gn-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("GENONAUT_STATE", folder)
        yield Path(folder)
        embedded.stop("demo")


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [GENONAUT, "demo"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


@pytest.mark.skipif("DATABASE_URL" in os.environ, reason="the demo is embedded; the pass without DATABASE_URL runs it")
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("state")
def test_demo_ends_with_the_same_counts_after_any_number_of_kills() -> None:
    """Nothing is lost and nothing doubled, wherever the SIGKILLs fell."""
    seed = random.randrange(10_000)
    moments = random.Random(seed)
    for _ in range(KILLS):
        process = start()
        time.sleep(moments.uniform(1, 45))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    last = start()
    output, _ = last.communicate(timeout=600)
    assert last.returncode == 0, f"seed {seed}: {output[-3000:]}"
    assert "Migrated and verified" in output
    with engine.connect(load_settings("demo")) as connection:
        rows = connection.execute("select content_source, count(*) from content_tags group by 1").fetchall()
        unmapped = connection.execute("select count(*) from workbench.unmapped_tags").fetchone()
    assert dict(rows) == RELATIONSHIPS, f"seed {seed}"
    assert unmapped == (UNMAPPED,)
