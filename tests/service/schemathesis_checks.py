"""A check for schemathesis, which loads this module by SCHEMATHESIS_HOOKS: no error without a problem, no leak."""

from __future__ import annotations

import httpx
import schemathesis

from tests.service.harmless import faults_of


@schemathesis.check
def harmless(_context: schemathesis.CheckContext, response: schemathesis.Response, _case: schemathesis.Case) -> None:
    """Hold an answer against what every answer keeps to."""
    headers = [(name, value) for name, values in response.headers.items() for value in values]
    # The body came unpacked already.
    kept = [(name, value) for name, value in headers if name.lower() not in {"content-encoding", "content-length"}]
    faults = faults_of(httpx.Response(response.status_code, headers=kept, content=response.content or b""))
    if faults:
        raise AssertionError("; ".join(faults))
