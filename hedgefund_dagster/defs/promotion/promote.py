"""Registering bundles and moving aliases as the gate decided."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from hedgefund_core import layout
from hedgefund_core.bundle import MANIFEST, GateRecord, sha256
from hedgefund_dagster.defs.promotion.bundles import draft
from hedgefund_dagster.defs.promotion.judge import Case
from hedgefund_dagster.defs.promotion.records import GateOutcome, Incumbent
from hedgefund_dagster.defs.training.records import Candidate, Figure
from hedgefund_dagster.resources.model_registry import Version
from hedgefund_dagster.resources.signing import Signer


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """What stands behind the aliases after a cut."""

    champion: str
    champion_version: str
    champion_digest: str
    run_id: str
    challenger: str
    challenger_version: str
    action: str
    reason: str


def promote(case: Case, outcome: GateOutcome, signer: Signer, *, calendar: str, dagster_run_id: str) -> Promotion:
    """Register what the cut made, sign its verdict into it, and point the aliases."""
    registry, alias = case.registry, case.book.alias
    challenger: Version | None = None
    if outcome.approval is not None:
        challenger = _register(case, case.walk.challenger, outcome.approval, signer, calendar, dagster_run_id)
        registry.set_alias(alias(layout.CHALLENGER), challenger.version)
    champion = registry.by_alias(alias(layout.CHAMPION))
    if outcome.action == "promote" and challenger is not None:
        made: Version | None = challenger
    elif outcome.action in {"bootstrap", "refit"}:
        made = _register(case, _champion_candidate(case, outcome), outcome.continuation, signer, calendar, dagster_run_id)
    else:
        made = None
    if made is not None:
        if champion is not None and champion.version != made.version:
            registry.set_alias(alias(layout.PREVIOUS), champion.version)
        registry.set_alias(alias(layout.CHAMPION), made.version)
        champion = made
    return Promotion(
        champion=outcome.champion if champion is not None else "",
        champion_version="" if champion is None else champion.version,
        champion_digest="" if champion is None else champion.digest,
        run_id="" if champion is None else champion.run_id,
        challenger=outcome.challenger,
        challenger_version="" if challenger is None else challenger.version,
        action=outcome.action,
        reason=outcome.reason,
    )


def _champion_candidate(case: Case, outcome: GateOutcome) -> Candidate:
    was = outcome.incumbent or Incumbent(version="", digest="", name=outcome.champion, params=outcome.champion_params, trained_through="")
    same = next(one for one in case.walk.candidates if one.name == was.name and dict(one.params) == dict(was.params))
    return same if same.run_id else msgspec.structs.replace(same, run_id=case.walk.of(same.name).run_id)


def _register(case: Case, candidate: Candidate, gate: GateRecord, signer: Signer, calendar: str, dagster_run_id: str) -> Version:
    made, _ = draft(case.study, candidate, calendar=calendar, dagster_run_id=dagster_run_id)
    files = made.signed(gate, signer)
    digest = sha256(files[MANIFEST])
    known = case.registry.by_digest(digest)
    if known is not None:
        return known
    tags = {
        "gate": gate.kind,
        "gate_passed": str(gate.passed).lower(),
        "model": candidate.name,
        "params": msgspec.json.encode(candidate.params).decode(),
        "book": case.book.name,
        "source": case.book.source,
        "mandate": case.study.mandate.name,
        "cut": case.study.cut,
        "data_version": case.study.panel.data_version,
        "dagster_run_id": dagster_run_id,
        "signed_by": signer.key_id,
    }
    figures = case.record.books[candidate.name].judged if candidate.name in case.record.books else {}
    return case.registry.register(candidate.run_id, files, digest=digest, tags=tags, description=_page(case, candidate, gate, figures))


def _page(case: Case, candidate: Candidate, gate: GateRecord, figures: Mapping[str, Figure]) -> str:
    verdict = "passed" if gate.passed else "**refused**"
    lines = "\n".join(
        f"| {name} | {_number(check.value)} | {_number(check.limit)} "
        f"| {'yes' if check.passed else 'no'} | {'' if check.hard else 'report only'} |"
        for name, check in gate.checks.items()
    )
    shown = "\n".join(f"| {name} | {_interval(figure)} |" for name, figure in figures.items())
    return f"""{candidate.name} for the {case.book.title}; trained through {case.study.cut}, mandate `{case.study.mandate.name}`.

Gate ({gate.kind.replace("_", " ")}): {verdict}. {gate.reason}

| check | value | limit | passed | |
|---|---|---|---|---|
{lines}

Net of costs on the {case.record.years_judged:.1f} years judged, 95 % intervals:

| measure | value |
|---|---|
{shown}

{case.record.trials.trials} trials so far, {case.record.trials.effective:.0f} effective.
"""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _interval(figure: Figure) -> str:
    return (
        _number(figure.value)
        if figure.low is None or figure.high is None
        else f"{_number(figure.value)} ({figure.low:.3g} to {figure.high:.3g})"
    )
