"""What the gate leaves for the champion asset, and what a person reads."""

from __future__ import annotations

from typing import Literal

import msgspec

from hedgefund_core.backtest.gate import GateVerdict
from hedgefund_core.bundle import GateCheck, GateRecord
from hedgefund_dagster.defs.training.records import finite

Action = Literal["bootstrap", "promote", "refit", "keep", "none"]


class Incumbent(msgspec.Struct, frozen=True, kw_only=True):
    """The version that carries the champion alias, if it is one of this book."""

    version: str
    digest: str
    name: str
    params: dict[str, float | int | str]
    trained_through: str


class GateOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Verdicts of a cut and what follows from them.

    ``approval`` judges the challenger as a strategy; ``continuation`` is the bootstrap verdict or the refit's of the incumbent.
    """

    book: str
    mandate: str
    cut: str
    champion: str
    """Model that the champion alias shall stand for after this cut."""
    champion_params: dict[str, float | int | str]
    challenger: str
    approval: GateRecord | None
    continuation: GateRecord
    action: Action
    reason: str
    incumbent: Incumbent | None = None


def gate_record(verdict: GateVerdict) -> GateRecord:
    """A verdict as it is signed; a figure that could not be evaluated is null."""
    kinds = {"strategy_approval": "strategy_approval", "refit_approval": "refit"}
    checks = {
        name: GateCheck(value=finite(check.value), limit=finite(check.limit), passed=check.passed, hard=check.hard, note=check.note)
        for name, check in verdict.checks.items()
    }
    return GateRecord(kind=kinds[verdict.kind], passed=verdict.passed, checks=checks)


def failed(record: GateRecord) -> list[str]:
    """Names of the hard checks that failed."""
    return [name for name, check in record.checks.items() if check.hard and not check.passed]
