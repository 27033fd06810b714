"""What a cut decides: which model the champion alias stands for, and on which verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from hedgefund_core import layout
from hedgefund_core.backtest.gate import refit_approval, strategy_approval
from hedgefund_core.bundle import Bundle, GateCheck, GateRecord, read_bundle
from hedgefund_core.errors import ModelMismatch, ModelUnavailable
from hedgefund_dagster.books import Book
from hedgefund_dagster.defs.backtest.records import BacktestRecord
from hedgefund_dagster.defs.promotion.bundles import draft
from hedgefund_dagster.defs.promotion.evidence import Leakage, approval_inputs, refit_inputs
from hedgefund_dagster.defs.promotion.records import Action, GateOutcome, Incumbent, failed, gate_record
from hedgefund_dagster.defs.training.records import Candidate, WalkRecord
from hedgefund_dagster.defs.training.study import Study
from hedgefund_dagster.golden_check import equal_in_fresh_process
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.model_registry import ModelRegistry, Version
from hedgefund_dagster.resources.signing import verify

Params = dict[str, float | int | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything the gate of a cut looks at."""

    book: Book
    study: Study
    walk: WalkRecord
    record: BacktestRecord
    lake: Lake
    place: str
    leakage: Leakage
    registry: ModelRegistry
    keys: Path


def judge(case: Case) -> GateOutcome:
    """Judge the challenger as a strategy, and the incumbent's refit (or the bootstrap where there is none)."""
    held = incumbent(case)
    approval: GateRecord | None = None
    action: Action
    if case.walk.has_challenger:
        inputs = approval_inputs(case.study, case.record, case.lake, case.place, case.leakage)
        approval = gate_record(strategy_approval(inputs, case.study.settings.gate))
    rule = case.study.settings.rule
    if held is None:
        continuation = bootstrap(case)
        champion, params, action = rule, case.walk.of(rule).params, "bootstrap" if continuation.passed else "none"
        reason = f"no incumbent: {rule} is the declared bootstrap champion" if continuation.passed else "the bootstrap champion failed"
    else:
        continuation = refit(case, held)
        champion, params, action = held[0].name, held[0].params, "refit" if continuation.passed else "keep"
        reason = (
            f"{champion} refitted" if continuation.passed else f"refit refused ({', '.join(failed(continuation))}): incumbent continues"
        )
    if approval is not None:
        if approval.passed and champion == rule:
            best = case.walk.challenger
            champion, params, action = best.name, best.params, "promote"
            reason = f"{best.name} passed strategy approval against {rule}"
        elif not approval.passed:
            reason += f"; {case.walk.challenger.name} failed {', '.join(failed(approval))}"
    return GateOutcome(
        book=case.book.name,
        mandate=case.study.mandate.name,
        cut=case.study.cut,
        champion=champion,
        champion_params=params,
        challenger=case.walk.challenger.name if case.walk.has_challenger else "",
        approval=approval,
        continuation=continuation,
        action=action,
        reason=reason,
        incumbent=None if held is None else held[0],
    )


def bootstrap(case: Case) -> GateRecord:
    """The published rule may begin: nothing was searched for, so only look-ahead and implausibility can refuse it; the rest is reported."""
    book = case.record.books[case.study.settings.rule]
    sharpe = book.judged["sharpe_ratio"].value
    highest = case.study.settings.gate.implausible_sharpe
    leaks = None if case.leakage is None else float(len(case.leakage))
    checks = {
        "leakage_findings": GateCheck(value=leaks, limit=0.0, passed=leaks == 0.0, note="; ".join(case.leakage or ())),
        "plausible": GateCheck(
            value=sharpe, limit=highest, passed=sharpe is not None and sharpe <= highest, note="annual net Sharpe ratio"
        ),
        "positive_at_double_cost": GateCheck(
            value=book.double_cost_return, limit=0.0, passed=(book.double_cost_return or 0.0) > 0.0, hard=False, note="a year, reported"
        ),
        "placebo_percentile": GateCheck(
            value=book.placebo_percentile,
            limit=case.study.settings.gate.placebo_percentile,
            passed=(book.placebo_percentile or 0.0) >= case.study.settings.gate.placebo_percentile,
            hard=False,
            note=f"{book.placebo_draws} draws, reported",
        ),
    }
    passed = all(check.passed for check in checks.values() if check.hard)
    reason = f"published rule {case.study.settings.rule}, fixed in advance as the first champion; counted as one trial"
    return GateRecord(kind="bootstrap", passed=passed, checks=checks, reason=reason)


def refit(case: Case, held: tuple[Incumbent, Bundle]) -> GateRecord:
    """The incumbent's strategy, fitted up to this cut, against the incumbent itself."""
    was, bundle = held
    candidate = candidate_like(case, was)
    made, model = draft(case.study, candidate, calendar="", dagster_run_id="")
    inputs = refit_inputs(
        case.study,
        (f"{was.name} {case.study.cut}", model),
        (f"{was.name} {was.trained_through}", bundle.model),
        expected_ic=candidate.ic,
        leakage=case.leakage,
        golden_equal=equal_in_fresh_process(made.draft_files()),
    )
    return gate_record(refit_approval(inputs, case.study.settings.gate))


def candidate_like(case: Case, was: Incumbent) -> Candidate:
    """The variant of this walk that the incumbent is: same model, same parameters."""
    same = [one for one in case.walk.candidates if one.name == was.name and dict(one.params) == dict(was.params)]
    if same:
        found = same[0]
        return found if found.run_id else msgspec.structs.replace(found, run_id=case.walk.of(found.name).run_id)
    message = f"the champion is {was.name} with parameters {was.params}, which config/models.yaml no longer has"
    raise ModelUnavailable(message, mend="put the variant back, or move the champion alias to another approved version")


def incumbent(case: Case) -> tuple[Incumbent, Bundle] | None:
    """The champion of this book, if the alias stands for a bundle of it that this code can still load."""
    version = case.registry.by_alias(case.book.alias(layout.CHAMPION))
    if version is None:
        return None
    try:
        bundle = read_bundle(
            case.registry.bundle_files(version), lambda key, payload, signature: verify(case.keys, key, payload, signature)
        )
    except (ModelMismatch, ModelUnavailable):
        return None  # a bundle the executor would refuse is nobody's incumbent
    manifest = bundle.manifest
    if (manifest.source, manifest.mandate) != (case.book.source, case.study.mandate.name) or not manifest.gate.passed:
        return None
    if manifest.trained_through > case.study.cut:
        return None  # an earlier cut is researched again: nothing that was made later may take part
    return _described(version, bundle), bundle


def _described(version: Version, bundle: Bundle) -> Incumbent:
    params = msgspec.json.decode(version.tags.get("params", "{}"), type=Params)
    return Incumbent(
        version=version.version,
        digest=bundle.digest,
        name=bundle.manifest.name,
        params=params,
        trained_through=bundle.manifest.trained_through,
    )
