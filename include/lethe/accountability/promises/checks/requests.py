"""Requests of persons: are they taken in, are they what the ledger says, and are proofs of identity gone?"""

from __future__ import annotations

from lethe import settings
from lethe.accountability.promises.look import Look
from lethe.accountability.promises.model import Seen
from lethe.control.request_agreement import decision_differences, request_differences
from lethe.subjects.intake.taking import list_files
from lethe.subjects.proofs import left_proofs

DAG = "request_intake"


def intake_works(look: Look) -> Seen:
    """Is the DAG there, is the key of requests set, and has nothing that was opened been left lying?"""
    if absent := look.no_dag(DAG):
        return Seen(absent=absent)
    settings.request_key(look.workspace.connections(settings.CONTROL))
    left = sum(f.what == "opened" for f in list_files(look.workspace))
    return look.now(f"{left} files whose requests were opened still lie there." if left else "")


def agree(look: Look) -> Seen:
    """Do requests and decisions agree with their records?"""
    found = (*request_differences(look.control), *decision_differences(look.control))
    return look.now(*(f.text for f in found[:6]))


def proofs_left(look: Look) -> Seen:
    """Proofs that a decision should have taken with it."""
    left = left_proofs(look.workspace)
    number = left.decided + left.unknown
    return look.now(f"{number} entries lie where proofs of identity do, {left.unknown} of them for no request." if number else "")
