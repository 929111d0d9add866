"""The approvals of plans: each as the runs that it allowed were sealed with, and each of the plan it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from genonaut_lib.runs.records.audit.file_chain import describe
from genonaut_lib.runs.records.audit.findings import Evidence, LedgerCopy, Problem
from genonaut_lib.runs.records.links import Link


def problems(evidence: Evidence) -> Iterator[Problem]:
    """Yield approvals that were edited or deleted since; nothing without a ledger."""
    if evidence.ledger is None:
        return
    for approval in evidence.ledger.approvals:
        if not approval.is_whole:
            sentence = (
                f"Approval {approval.approval_id} by {approval.approver} was edited: its plan has another digest."
            )
            yield Problem("edited", "approvals", sentence, None, str(approval.run_id))
    sealed = {link.hash: link for link in (*(link for _, link in evidence.entered if link), *evidence.best.values())}
    for link in sealed.values():
        yield from _used(evidence.ledger, link)


def _used(ledger: LedgerCopy, link: Link) -> Iterator[Problem]:
    """Yield what is wrong with the approval that a sealed run names, if it names one of this ledger's."""
    told = approval_of(link)
    if told is None or link.ledger is None or link.ledger.id != ledger.id or not link.is_sound:
        return
    row = next((found for found in ledger.approvals if found.approval_id == told.get("id")), None)
    named = f"Approval {told.get('id')} by {told.get('approver')}, which allowed {describe(link)},"
    if row is None:
        sentence = f"{named} is deleted from workbench.approvals."
        yield Problem("deleted", "approvals", sentence, link.place, link.run_id)
    elif row.digest != told.get("digest"):
        sentence = f"{named} was edited in workbench.approvals."
        yield Problem("edited", "approvals", sentence, link.place, link.run_id)


def approval_of(link: Link) -> Mapping[str, Any] | None:
    """Return what a sealed run says of the approval that allowed it, None where it names none."""
    found = link.content.get("approval")
    return found if link.run_id is not None and isinstance(found, dict) else None
