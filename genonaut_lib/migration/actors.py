"""Who does something: the name that the login or its environment gives, and the number of the account behind it."""

from __future__ import annotations

import getpass
import os
import socket


def user() -> str:
    """Return the user's name, as LOGNAME or USER has it or else the account; the number of one without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def actor() -> str:
    """Return who runs this: user and host."""
    return f"{user()}@{socket.gethostname()}"


def account() -> str:
    """Return the account behind it, by the user's number, which no variable of the environment changes."""
    return f"uid {os.getuid()}@{socket.gethostname()}"


def is_same_person(one: str, other: str) -> bool:
    """Return whether two actors are one person as far as names tell: the same user, on whichever hosts."""
    return one.rpartition("@")[0] == other.rpartition("@")[0]
