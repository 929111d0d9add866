"""How fast the HTTP API is: the service as it is served, beside a plain baseline, on the same gallery.

With content the gallery is made in a throw-away database. Without it the environment's own is read, and
nothing is written. Clients, both servers and PostgreSQL share the processors of one machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from genonaut_lib.db import engine, scratch
from genonaut_lib.errors import InvalidInput
from genonaut_lib.migration import bitmap_build
from genonaut_lib.settings import Settings
from genonaut_lib.tuning import http_servers
from genonaut_lib.tuning.bitmap_bench import machine
from genonaut_lib.tuning.bitmap_effort import Found
from genonaut_lib.tuning.bitmap_reader import BitmapReader
from genonaut_lib.tuning.gallery_bench import Content, prepare
from genonaut_lib.tuning.http_effort import Ground, HttpEffort, Section
from genonaut_lib.tuning.http_latency import measure_latency
from genonaut_lib.tuning.http_soak import measure_soak
from genonaut_lib.tuning.http_throughput import measure_throughput
from genonaut_lib.tuning.race import Say

MEASURES: dict[str, Section] = {
    "latency": measure_latency,
    "throughput": measure_throughput,
    "soak": measure_soak,
}
"""By section, in the order they are run in: what the first learns of the baseline saves the second its asking."""


@dataclass
class HttpBench:
    """One run over a gallery that is made for it (`content`), or over the environment's own (None)."""

    settings: Settings
    content: Content | None
    effort: HttpEffort = field(default_factory=HttpEffort)
    say: Say = lambda line: None

    def __post_init__(self) -> None:
        if self.settings.protected:
            problem = "The benchmark says who looks by user_id, which no service of a protected environment takes."
            raise InvalidInput(problem, hint="Measure a copy of the gallery in an environment of its own.")

    def run(self) -> dict[str, Any]:
        """Measure and return everything, fit for JSON; answers that differ are told and not raised here.

        Raises ServerStartFailed where a server does not start, UnexpectedAnswer where one answers with
        something else than a page.
        """
        with self._gallery() as settings, self._ground(settings) as ground:
            found = {name: self._measure(ground, name) for name in MEASURES if name in self.effort.sections}
            return {**self._circumstances(ground), "sections": {name: asdict(one) for name, one in found.items()}}

    def _measure(self, ground: Ground, name: str) -> Found:
        self.say(f"{name}:")
        return MEASURES[name](ground)

    @contextmanager
    def _gallery(self) -> Iterator[Settings]:
        if self.content is None:
            yield self.settings
            return
        with scratch.database(self.settings, "http_bench") as made:
            prepare(made, self.content, self.say)
            self.say("building the tag bitmaps")
            bitmap_build.build(made)
            yield made

    @contextmanager
    def _ground(self, settings: Settings) -> Iterator[Ground]:
        self.say("starting the service and the baseline")
        with (
            http_servers.service(settings) as service,
            http_servers.baseline(settings, self.effort.timeout_s) as baseline,
            engine.session(settings, writing=False) as connection,
            BitmapReader(settings) as gallery,
        ):
            yield Ground(settings, connection, service, baseline, gallery, self.effort, self.say)

    def _circumstances(self, ground: Ground) -> dict[str, Any]:
        return {
            "content": None if self.content is None else asdict(self.content),
            "postgresql": engine.facts(ground.connection).version_text,
            "machine": machine(),
            "effort": asdict(self.effort),
            "service": self.settings.service.model_dump(mode="json"),
            "bitmaps": self.settings.bitmaps.model_dump(mode="json"),
        }
