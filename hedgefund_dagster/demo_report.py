"""``data/reports/demo.json`` in the shape of the interface, and the table at the end of the demo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.table import Table

from hedgefund_core import layout
from hedgefund_core.bundle import GateRecord
from hedgefund_dagster.defs.backtest.records import BacktestRecord
from hedgefund_dagster.defs.post_trade.report import PostTradeRecord
from hedgefund_dagster.defs.promotion.promote import Promotion
from hedgefund_dagster.defs.promotion.records import GateOutcome
from hedgefund_dagster.defs.training.records import Figure, WalkRecord, folder, read_record
from hedgefund_dagster.resources.lake_files import write_atomic

if TYPE_CHECKING:
    from hedgefund_dagster.demo import Demo
    from hedgefund_dagster.demo_screen import Screen


class _Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Part of the report."""


class ModelPart(_Shape, frozen=True, kw_only=True):
    """The champion after the last cut."""

    name: str
    version: str
    run_id: str


class CheckPart(_Shape, frozen=True, kw_only=True):
    """One check of the gate."""

    value: float | None
    limit: float | None
    passed: bool
    hard: bool


class GatePart(_Shape, frozen=True, kw_only=True):
    """The last challenger's strategy approval."""

    kind: str
    candidate: str
    passed: bool
    checks: dict[str, CheckPart]


class BacktestPart(_Shape, frozen=True, kw_only=True):
    """The traded book on the judged sessions, net of costs."""

    sharpe: float | None
    sharpe_ci: tuple[float | None, float | None]
    max_drawdown: float | None
    volatility: float | None
    beta: float | None
    var_95: float | None
    cvar_95: float | None
    turnover: float | None
    sessions: int
    trials: int
    placebo_percentile: float | None


class CandidatePart(_Shape, frozen=True, kw_only=True):
    """One variant that was researched at the last cut."""

    name: str
    params: dict[str, float | int | str]
    information_coefficient: float | None
    information_coefficient_ci: tuple[float | None, float | None]
    sharpe: float | None
    chosen: bool


class TradedPart(_Shape, frozen=True, kw_only=True):
    """What was traded, and why."""

    kind: str
    name: str
    version: str
    reason: str


class LivePart(_Shape, frozen=True, kw_only=True):
    """What the executor did."""

    account: str
    sessions: int
    orders: int
    fills: int
    denied: int
    denied_by: dict[str, int]
    stand_ins: int
    max_drawdown_true: float
    max_drawdown_since_resume: float
    realized_volatility: float | None
    target_volatility: float
    equity_start: str
    equity_end: str
    replay_ok: bool
    reconcile_ok: bool
    audit_ok: bool
    decisions: int
    partial_fills: int
    splits: int
    commission: float
    borrow: float


class DemoReport(_Shape, frozen=True, kw_only=True):
    """The whole file."""

    rows_ingested: int
    symbols: int
    first_session: str
    last_session: str
    quarantined: int
    model: ModelPart
    gate: GatePart
    backtest: BacktestPart
    models: tuple[CandidatePart, ...]
    traded: TradedPart
    live: LivePart
    split_replays: tuple[LivePart, ...]
    baselines: dict[str, float | None]
    biases: tuple[str, ...]
    cuts: tuple[str, ...]
    source: str
    mandate: str
    seconds: dict[str, float]


def demo_report(demo: Demo) -> DemoReport:
    """Collect and store the report."""
    lake, place = demo.pipeline.lake, folder(demo.book.name, demo.mandate, demo.cuts[-1])
    manifest = lake.panel_manifest(demo.book.source)
    walk, record = read_record(lake, f"{place}/walk.json", WalkRecord), read_record(lake, f"{place}/backtest.json", BacktestRecord)
    outcome, made = read_record(lake, f"{place}/gate.json", GateOutcome), read_record(lake, f"{place}/champion.json", Promotion)
    *splits, main = [_live(demo, number) for number in range(len(demo.proofs))]
    report = DemoReport(
        rows_ingested=manifest.rows + manifest.quarantined,
        symbols=len(manifest.symbols),
        first_session=manifest.first_session,
        last_session=manifest.last_session,
        quarantined=manifest.quarantined,
        model=ModelPart(name=made.champion, version=made.champion_version, run_id=made.run_id),
        gate=_gate(outcome),
        backtest=_backtest(record, made.champion),
        models=_models(walk, record),
        traded=TradedPart(
            kind=next(one.kind for one in walk.candidates if one.name == made.champion),
            name=made.champion,
            version=made.champion_version,
            reason=made.reason,
        ),
        live=main,
        split_replays=tuple(splits),
        baselines={baseline.label: baseline.figures["sharpe_ratio"].value for baseline in record.baselines.values()},
        biases=tuple(f"{name}: {direction}" for name, direction in manifest.biases),
        cuts=tuple(demo.cuts),
        source=demo.book.source,
        mandate=demo.mandate,
        seconds={**{key: round(value, 2) for key, value in demo.screen.seconds.items()}, "total": round(demo.screen.total, 2)},
    )
    write_atomic(lake.root / layout.DEMO_REPORT, msgspec.json.format(msgspec.json.encode(report), indent=1))
    return report


def _gate(outcome: GateOutcome) -> GatePart:
    record: GateRecord = outcome.approval or outcome.continuation
    return GatePart(
        kind=record.kind,
        candidate=outcome.challenger or outcome.champion,
        passed=record.passed,
        checks={
            name: CheckPart(value=check.value, limit=check.limit, passed=check.passed, hard=check.hard)
            for name, check in record.checks.items()
        },
    )


def _backtest(record: BacktestRecord, traded: str) -> BacktestPart:
    book = record.books[traded if traded in record.books else record.champion]
    value = {name: figure.value for name, figure in book.judged.items()}
    sharpe = book.judged["sharpe_ratio"]
    return BacktestPart(
        sharpe=sharpe.value,
        sharpe_ci=(sharpe.low, sharpe.high),
        max_drawdown=value.get("max_drawdown"),
        volatility=value.get("volatility"),
        beta=value.get("beta"),
        var_95=value.get("value_at_risk_95"),
        cvar_95=value.get("conditional_value_at_risk_95"),
        turnover=value.get("turnover"),
        sessions=record.judged_sessions,
        trials=record.trials.trials,
        placebo_percentile=book.placebo_percentile,
    )


def _models(walk: WalkRecord, record: BacktestRecord) -> tuple[CandidatePart, ...]:
    traded = {book.number: book.judged["sharpe_ratio"].value for book in record.books.values()}
    return tuple(
        CandidatePart(
            name=one.name,
            params=one.params,
            information_coefficient=one.ic.value,
            information_coefficient_ci=(one.ic.low, one.ic.high),
            sharpe=traded.get(one.number),
            chosen=one.chosen,
        )
        for one in walk.candidates
    )


def _live(demo: Demo, number: int) -> LivePart:
    proof = demo.proofs[number]
    done = read_record(demo.pipeline.lake, f"{layout.REPORTS}/post_trade_{proof.account}.json", PostTradeRecord)
    return LivePart(
        account=done.account,
        sessions=done.sessions,
        orders=done.orders,
        fills=done.fills,
        denied=done.denied,
        denied_by=done.denied_by,
        stand_ins=done.stand_ins,
        max_drawdown_true=done.max_drawdown_true,
        max_drawdown_since_resume=done.max_drawdown_since_resume,
        realized_volatility=done.realized_volatility,
        target_volatility=done.target_volatility,
        equity_start=done.equity_start,
        equity_end=done.equity_end,
        replay_ok=proof.replay.ok,
        reconcile_ok=proof.reconciled,
        audit_ok=proof.audited,
        decisions=done.decisions,
        partial_fills=done.partial_fills,
        splits=done.splits,
        commission=done.commission,
        borrow=done.borrow,
    )


def show(screen: Screen, report: DemoReport, demo: Demo) -> None:
    """The table, in the report order of the house, and where to look next."""
    table = Table(title="What happened", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    for name, words in _lines(report):
        table.add_row(name, words)
    screen.console.print(table)
    screen.say("Where to look next:")
    screen.say(f"  tear sheet      {demo.data / layout.TEAR_SHEET}")
    screen.say(f"  traded account  {demo.data / layout.REPORTS / f'tear_sheet_{demo.account}.html'}")
    screen.say(f"  all numbers     {demo.data / layout.DEMO_REPORT}")
    screen.say(f"  the account     .venv/bin/executor status --account {demo.account}   (also orders, risk, explain ORDER_ID)")
    screen.say("  Dagster, MLflow make dev")


def _lines(report: DemoReport) -> list[tuple[str, str]]:
    live, backtest = report.live, report.backtest
    sharpe = Figure(value=backtest.sharpe, low=backtest.sharpe_ci[0], high=backtest.sharpe_ci[1])
    failed = [name for name, check in report.gate.checks.items() if check.hard and not check.passed]
    proofs = ("replay", live.replay_ok), ("reconcile", live.reconcile_ok), ("audit", live.audit_ok)
    risk = (
        f"volatility {_percent(live.realized_volatility)} realized, {_percent(live.target_volatility)} promised; "
        f"drawdown {_percent(live.max_drawdown_true)}, stand-in resumed {live.stand_ins} times"
    )
    research = (
        f"net Sharpe {_interval(sharpe)}, volatility {_percent(backtest.volatility)}, beta {_number(backtest.beta)}, "
        f"{backtest.sessions} sessions, {backtest.trials} trials, above {_percent(backtest.placebo_percentile)} of placebos"
    )
    lines = [
        ("Traded", f"{report.traded.name} version {report.traded.version} ({report.traded.kind}): {report.traded.reason}"),
        ("Gate", f"{report.gate.candidate}: {'approved' if report.gate.passed else 'refused (' + ', '.join(failed) + ')'}"),
        ("Risk kept", risk),
        ("Orders", f"{live.orders} orders, {live.fills} fills, {live.denied} denied {live.denied_by or ''} in {live.sessions} sessions"),
        ("Costs", f"commission {live.commission:,.0f}, borrow {live.borrow:,.0f} USD"),
        ("Equity", f"{live.equity_start} → {live.equity_end}"),
        ("Backtest", research),
        ("Baselines", "; ".join(f"{label}: {_number(value)}" for label, value in report.baselines.items())),
        ("Proofs", ", ".join(f"{name} {'ok' if ok else 'FAILED'}" for name, ok in proofs)),
    ]
    lines += [(f"Splits {part.account[-4:]}", _split_words(part)) for part in report.split_replays]
    return [*lines, ("Time", f"{report.seconds['total']:.0f} s")]


def _split_words(part: LivePart) -> str:
    proofs = f"replay {'ok' if part.replay_ok else 'FAILED'}, reconcile {'ok' if part.reconcile_ok else 'FAILED'}"
    return f"{part.splits} split booked, {part.fills} fills, {part.partial_fills} in part, {proofs}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _interval(figure: Figure) -> str:
    return f"{_number(figure.value)} (95 % {_number(figure.low)} to {_number(figure.high)})"
