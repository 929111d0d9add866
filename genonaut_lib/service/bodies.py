"""Bodies of requests: JSON objects of a bounded size, read by hand so that a refusal names the field at fault."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from fastapi import Request

from genonaut_lib.errors import InvalidInput
from genonaut_lib.request_errors import BodyTooLarge

LARGEST_BODY = 5_000_000
"""Bytes; a million characters of content take up to four million of them."""


async def object_of(request: Request) -> dict[str, Any]:
    """Return the JSON object that a request's body is.

    Raises BodyTooLarge once more has come than may, InvalidInput for anything but one JSON object.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise BodyTooLarge(f"The body has more than {LARGEST_BODY:,} bytes.", field="body")
    found = _parsed(bytes(body))
    if not isinstance(found, dict):
        raise InvalidInput("The body is not a JSON object.", hint="Send the fields of an item.", field="body")
    return found


def _parsed(body: bytes) -> Any:
    """Return a JSON value with its whole numbers as they are, however large; whoever takes them bounds them."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError:
        raise InvalidInput("The body is not UTF-8.", field="body") from None
    except json.JSONDecodeError as error:
        raise InvalidInput(f"The body is not JSON, at character {error.pos + 1}.", field="body") from None
    except (RecursionError, ValueError):
        # Too many brackets, or a number of more digits than Python reads.
        raise InvalidInput("The body is JSON beyond all bounds.", field="body") from None


def _no_number(word: str) -> NoReturn:
    raise InvalidInput(f"The body holds {word}, which JSON does not have.", field="body")
