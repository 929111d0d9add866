"""Locks that tell whether somebody is at work: held until released, or until the holder's connection goes.

On a server session of our own they are the session's. Behind a pooler in transaction mode a session's
lock would stay with whichever server session happened to take it: others would find it free there, and
nobody could release it. There a keeper holds the lock, a second connection with an open transaction,
which no pooler takes away. Between its statements it has neither snapshot nor transaction id, so it holds
up no vacuum and no index build.
"""

from __future__ import annotations

import weakref

from genonaut_lib.db import pooling
from genonaut_lib.db.pooling import Connection
from genonaut_lib.db.statements import block

KEEPER = "genonaut keeper"
_SHARED = {True: "_shared", False: ""}
_KEEPERS: weakref.WeakKeyDictionary[Connection, dict[str, Connection]] = weakref.WeakKeyDictionary()


def try_hold(connection: Connection, key: str, *, shared: bool = False) -> bool:
    """Take the lock called `key` for the life of `connection` and return whether it was free.

    Holders of a `shared` lock are beside one another, and never beside one that has it alone. Behind a
    pooler a lock that this connection holds already is not free to it.
    """
    if not pooling.is_pooled(connection):
        return _ask(connection, f"try_lock{_SHARED[shared]}", key)
    keeper = pooling.beside(connection, KEEPER)
    weakref.finalize(connection, keeper.close)
    keeper.execute("begin")
    if not _ask(keeper, f"try_lock{_SHARED[shared]}_in_transaction", key):
        keeper.close()
        return False
    # Last, and without bound values: a statement with values keeps its snapshot until the next one.
    keeper.execute(block("advisory", "stay").sql())
    _KEEPERS.setdefault(connection, {})[key] = keeper
    return True


def release(connection: Connection, key: str, *, shared: bool = False) -> None:
    """Give back a lock as `try_hold` took it; one that is not held is none the worse."""
    keeper = _KEEPERS.get(connection, {}).pop(key, None)
    if keeper is not None:
        keeper.close()
    elif not connection.closed and not pooling.is_pooled(connection):
        _ask(connection, f"unlock{_SHARED[shared]}", key)


def _ask(connection: Connection, name: str, key: str) -> bool:
    row = connection.execute(block("advisory", name).sql(), {"key": key}).fetchone()
    return bool(row and row[0])
