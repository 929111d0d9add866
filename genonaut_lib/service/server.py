"""Running the service: uvicorn with one process or several, the signals that end it, what it refuses to start on."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from types import FrameType

import psycopg
import uvicorn
from fastapi import FastAPI
from psycopg import conninfo
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from genonaut_lib.db import engine, guard
from genonaut_lib.errors import DatabaseUnreachable, ServerStartFailed
from genonaut_lib.request_errors import AddressTaken
from genonaut_lib.service import PREFIX, logs
from genonaut_lib.service.app import create_app
from genonaut_lib.service.metrics import shared_metrics
from genonaut_lib.service.tokens import tokens_of
from genonaut_lib.service_settings import ServiceSettings
from genonaut_lib.settings import ENVIRONMENT_VARIABLE, Settings, load_settings

LOG = logging.getLogger("genonaut.service")
BACKLOG = 2048


def made() -> FastAPI:
    """Return the API of the environment that GENONAUT_ENVIRONMENT names; what each worker process calls."""
    return create_app(load_settings())


def serve(settings: Settings) -> None:
    """Serve until a signal ends it: the first lets requests finish, a second one ends it at once.

    Raises InvalidSettings, AddressTaken, WrongEnvironment, NotAGallery or CheckFailed before anything is served. A
    database that does not answer is waited for, since the service would survive its restart as well.
    """
    tokens_of(settings)
    os.environ[ENVIRONMENT_VARIABLE] = settings.environment
    missing = _missing_database(settings)
    listening = _listening(settings.service)
    config = _configuration(settings.service)
    host, port = listening.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    LOG.info("Serving %s at %s%s", settings.environment, address, PREFIX, extra={"address": address, "port": port})
    if missing is not None:
        LOG.warning("%s It is waited for.", missing.message)
    with shared_metrics(config.workers):
        if config.workers > 1:
            Workers(config, [listening]).run()
        else:
            _serve_alone(config, listening)


class Server(uvicorn.Server):
    """uvicorn's server, whose process ends well after a signal, and at once by a second one."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop accepting and let requests finish; leave a second signal to the system, which ends the process."""
        super().handle_exit(sig, frame)
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Heed signals for a block, without raising them again after it: it ended as they wanted it to."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()


class Workers(Multiprocess):
    """uvicorn's processes: one that dies is replaced, and all end with the parent."""

    def run(self) -> None:
        """Serve until a signal ends it; raise ServerStartFailed where no worker could start."""
        super().run()
        if any(process.exitcode == STARTUP_FAILURE for process in self.processes):
            raise _not_started()

    def handle_signals(self) -> None:
        """Heed one signal at a time, so that what comes after the one that ends it is left for `join_all`."""
        later = self.signal_queue[1:]
        del self.signal_queue[1:]
        super().handle_signals()
        self.signal_queue[:0] = later

    def terminate_all(self) -> None:
        """Let the workers finish what they do; once they have closed their copies of the socket none is left."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()

    def join_all(self) -> None:
        """Wait for the workers; a second signal kills them."""
        while any(process.process.is_alive() for process in self.processes):
            if {signal.SIGINT, signal.SIGTERM} & set(self.signal_queue):
                for process in self.processes:
                    process.process.kill()
            time.sleep(0.05)
        super().join_all()


def _serve_alone(config: uvicorn.Config, listening: socket.socket) -> None:
    try:
        Server(config).run([listening])
    except SystemExit as leaving:
        raise _not_started() from leaving


def _not_started() -> ServerStartFailed:
    return ServerStartFailed("The service did not start.", hint="Its log above says why.")


def _configuration(knobs: ServiceSettings) -> uvicorn.Config:
    return uvicorn.Config(
        "genonaut_lib.service.server:made",
        factory=True,
        workers=knobs.workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=logs.configuration(),
        access_log=False,
        server_header=False,
        timeout_keep_alive=knobs.keep_alive_s,
        timeout_graceful_shutdown=knobs.shutdown_s,
        backlog=BACKLOG,
    )


def _listening(knobs: ServiceSettings) -> socket.socket:
    """Return a socket that listens from now on: a client that comes before the first worker waits for it."""
    family = socket.AF_INET6 if ":" in knobs.host else socket.AF_INET
    try:
        return socket.create_server((knobs.host, knobs.port), family=family, backlog=BACKLOG)
    except OSError as error:
        # Python says which address it was as well, and a name that means none has no number.
        reason = (error.strerror or str(error)).partition(" (while")[0].lower()
        raise AddressTaken(
            f"Cannot listen at {knobs.host}, port {knobs.port}: {reason}.",
            hint="Give another --port (0: any free one) or --host, or stop what listens there.",
        ) from None


def _missing_database(settings: Settings) -> DatabaseUnreachable | None:
    """Look at the database before it is served: refuse one that is not fit, return the error of one that is away."""
    try:
        with engine.session(settings, writing=False) as connection:
            guard.require_servable(connection, settings)
    except DatabaseUnreachable as missing:
        if not _is_readable(engine.database_url(settings)):
            raise
        return missing
    return None


def _is_readable(address: str) -> bool:
    """Return whether an address can be read at all; one that cannot will not answer later either."""
    try:
        conninfo.conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        return False
    return True
