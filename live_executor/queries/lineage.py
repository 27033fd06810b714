"""``explain``: from an order back to the file its prices came from, and from a bar forward to what used it."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import msgspec

from hedgefund_core.account import State, rows_kept
from hedgefund_core.decision import DecisionInputs
from hedgefund_core.errors import DataInvalid
from hedgefund_core.layout import panel_manifest
from hedgefund_core.quant.bars import FIELDS, Panel
from hedgefund_core.risk import LIVE_RULES, RULES
from hedgefund_core.trading import events as e
from live_executor.ports import JournalEntry
from live_executor.queries.account import order_row
from live_executor.queries.models import gate_of
from live_executor.queries.origins import Origin
from live_executor.queries.provenance import raw_lines
from live_executor.queries.shapes import OrderRow
from live_executor.queries.story import Recorded, Story

SHOWN_BARS = 5


class VerdictLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule said of the order."""

    rule: str
    verdict: str
    measured: float | None
    limit: float | None
    unit: str
    reason: str


class FeatureLine(msgspec.Struct, frozen=True, kw_only=True):
    """A feature of the instrument at the decision."""

    name: str
    value: float | None
    params: dict[str, float | int]
    warm_up: int


class BarLine(msgspec.Struct, frozen=True, kw_only=True):
    """A bar as journaled; an absent field is null."""

    session: str
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None
    data_version: str
    raw_file: str = ""
    """The payload it was read from, below the data folder; empty where the lake does not say."""
    raw_sha256: str = ""
    raw_row: int | None = None
    """Counted from 1."""


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """A raw payload behind the panel."""

    dataset: str = ""
    origin: str = ""
    file: str = ""
    sha256: str = ""
    retrieved_at: str = ""


class PanelBehind(msgspec.Struct, frozen=True, kw_only=True):
    """The panel that the bars came from. ``same_version`` compares it with what the journal recorded."""

    data_version: str
    same_version: bool
    raw_files: tuple[SourceFile, ...]
    note: str = ""


_NO_PANEL = PanelBehind(data_version="", same_version=True, raw_files=())
"""Of an account that trades on quotes alone."""


class DecisionLine(msgspec.Struct, frozen=True, kw_only=True):
    """The decision behind an order, as far as its instrument is concerned."""

    decision_id: str
    decided_at: datetime
    session: str
    for_session: str
    score: float | None
    rank: int | None
    scored: int
    target_weight: Decimal | None
    scalers: tuple[e.Scaler, ...]
    inputs_digest: str
    digest: str


class ModelLine(msgspec.Struct, frozen=True, kw_only=True):
    """The model behind a decision."""

    name: str
    version: str
    digest: str
    kind: str
    trained_from: str
    trained_through: str
    code_digest: str
    data_versions: dict[str, str]
    gate: str
    mlflow_run_id: str
    dagster_run_id: str
    folder: str


class OrderFill(msgspec.Struct, frozen=True, kw_only=True):
    """A fill of the order."""

    fill_id: str
    quantity: Decimal
    price: Decimal
    commission: Decimal
    ts: datetime


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The whole chain of one order."""

    order: OrderRow
    fills: tuple[OrderFill, ...]
    verdicts: tuple[VerdictLine, ...]
    decision: DecisionLine | None
    features: tuple[FeatureLine, ...]
    bars_used: int
    first_bar: str
    bars: tuple[BarLine, ...]
    source: str
    panel: PanelBehind
    model: ModelLine | None
    mlflow_run_id: str
    dagster_run_id: str
    origin: Origin | None = None
    """Who asked, where no model did."""


class BarUse(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that had the bar in its window, and the orders it made in the instrument."""

    decision_id: str
    session: str
    sessions_later: int
    score: float | None
    orders: tuple[str, ...]


class BarExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """What a bar was used for."""

    symbol: str
    session: str
    bar: BarLine
    seq: int
    known_at: datetime | None
    source: str
    panel: PanelBehind
    decisions: tuple[BarUse, ...]


def explain(
    after: Story, before: Story, recorded: Recorded | None, inputs: DecisionInputs | None, order_id: str, data: Path
) -> Explanation:
    """Everything behind an order.

    Parameters
    ----------
    after : the whole story. before : the account just before the order's decision. recorded, inputs : that decision and what it knew;
        None where its frame was deleted. order_id : in full. data : the data folder, for the panel's manifest.
    """
    order = after.orders[order_id]
    column = [i.instrument_id for i in before.state.instruments].index(order.instrument_id) if before.state.instruments else 0
    bars = _bars(before, column)
    model, replayed = _model(before, recorded), before.state.is_replayed
    panel = panel_behind(data, before.state.source, bars[-1].data_version if bars else "") if bars or replayed else _NO_PANEL
    shown, restated = _with_origins(bars[-SHOWN_BARS:], data, before.state.source, order.symbol, panel)
    return Explanation(
        order=order_row(order),
        fills=tuple(
            OrderFill(fill_id=fill.fill_id, quantity=fill.quantity, price=fill.price, commission=fill.commission, ts=fill.ts)
            for filled, fill in after.fills
            if filled.client_order_id == order_id
        ),
        verdicts=_verdicts(recorded, order_id),
        decision=None if recorded is None else _decision(recorded, order.instrument_id),
        features=_features(before.state, inputs, column),
        bars_used=len(bars),
        first_bar=bars[0].session if bars else "",
        bars=shown,
        source=before.state.source,
        panel=msgspec.structs.replace(panel, note="; ".join(filter(None, (panel.note, restated)))),
        model=model,
        mlflow_run_id="" if model is None else model.mlflow_run_id,
        dagster_run_id="" if model is None else model.dagster_run_id,
    )


def _verdicts(recorded: Recorded | None, order_id: str) -> tuple[VerdictLine, ...]:
    units = {rule.name: rule.unit for rule in (*RULES, *LIVE_RULES)}
    found = None if recorded is None else recorded.made.judgements.of(order_id)
    return tuple(
        VerdictLine(rule=v.rule, verdict=v.verdict, measured=v.measured, limit=v.limit, unit=units.get(v.rule, ""), reason=v.reason)
        for v in (() if found is None else found.verdicts)
    )


def _decision(recorded: Recorded, instrument_id: str) -> DecisionLine:
    made = recorded.made
    scores = dict(zip(made.instruments, e.unpacked(made.scores), strict=True))
    ranked = sorted((-score, key) for key, score in scores.items() if score is not None)
    places = {key: place for place, (_, key) in enumerate(ranked, start=1)}
    return DecisionLine(
        decision_id=made.decision_id,
        decided_at=made.ts,
        session=made.session,
        for_session=made.for_session,
        score=scores[instrument_id],
        rank=places.get(instrument_id),
        scored=len(ranked),
        target_weight=made.weights.get(instrument_id),
        scalers=made.scalers,
        inputs_digest=made.inputs_digest,
        digest=made.digest,
    )


def _features(state: State, inputs: DecisionInputs | None, column: int) -> tuple[FeatureLine, ...]:
    bundle = state.bundle
    if inputs is None or bundle is None or inputs.features.shape[1] == 0:
        return ()
    values = inputs.features[column].tolist()
    return tuple(
        FeatureLine(name=name, value=value if value == value else None, params=spec.params, warm_up=spec.warm_up)  # noqa: PLR0124 - NaN
        for name, value, spec in zip(bundle.manifest.columns, values, bundle.manifest.features, strict=True)
    )


def _bars(story: Story, column: int) -> list[BarLine]:
    ring = story.state.ring
    return [] if ring is None else [_bar(story, ring, row, column) for row in range(ring.shape[0])]


def _bar(story: Story, ring: Panel, row: int, column: int) -> BarLine:
    session = str(ring.sessions[row])
    return _line(session, story.versions.get(session, ""), {name: _cell(ring, name, row, column) for name in FIELDS})


def _line(session: str, version: str, cells: dict[str, float | None]) -> BarLine:
    return BarLine(
        session=session, open=cells["open"], high=cells["high"], low=cells["low"], close=cells["close"], volume=cells["volume"],
        data_version=version,
    )  # fmt: skip


def _with_origins(bars: Sequence[BarLine], data: Path, source: str, symbol: str, panel: PanelBehind) -> tuple[tuple[BarLine, ...], str]:
    """The bars with payload and row, and in words which of them the lake has otherwise now: those are left without."""
    found = raw_lines(data, source, symbol, [bar.session for bar in bars])
    files = {file.sha256: file.file for file in panel.raw_files}
    lines, restated = [], []
    for bar in bars:
        origin = found.get(bar.session)
        if origin is not None and origin.is_of(bar.close):
            path = files.get(origin.raw_sha256, "")
            lines.append(msgspec.structs.replace(bar, raw_file=path, raw_sha256=origin.raw_sha256, raw_row=origin.source_row))
        else:
            restated += [bar.session] if origin is not None else []
            lines.append(bar)
    return tuple(lines), f"the lake has other prices of {symbol} now at {', '.join(restated)}" if restated else ""


def _cell(ring: Panel, name: str, row: int, column: int) -> float | None:
    grid = getattr(ring, name)
    value = None if grid is None else float(grid[row, column])
    return None if value is None or value != value else value  # noqa: PLR0124 - NaN


def _model(before: Story, recorded: Recorded | None) -> ModelLine | None:
    if not before.models or (recorded is not None and not recorded.made.model_digest):
        return None
    loaded, bundle = before.models[-1], before.state.bundle
    manifest = None if bundle is None else bundle.manifest
    return ModelLine(
        name=loaded.name,
        version=loaded.version,
        digest=loaded.digest,
        kind=loaded.model_kind,
        trained_from="" if manifest is None else manifest.trained_from,
        trained_through=loaded.trained_through,
        code_digest="" if manifest is None else manifest.code_digest,
        data_versions={} if manifest is None else manifest.data_versions,
        gate=gate_of(bundle),
        mlflow_run_id=loaded.mlflow_run_id,
        dagster_run_id=loaded.dagster_run_id,
        folder=f"bundles/{loaded.digest}",
    )


def panel_behind(data: Path, source: str, data_version: str) -> PanelBehind:
    """The panel's manifest as it lies in the lake now; a missing one is said."""
    path = data / panel_manifest(source)
    if not path.exists():
        return PanelBehind(data_version=data_version, same_version=False, raw_files=(), note=f"no manifest at {path}")
    try:
        tree = json.loads(path.read_bytes())
        files = msgspec.convert(tree.get("raw_files", ()), tuple[SourceFile, ...])
        version = str(tree.get("data_version") or tree.get("sha256", ""))
    except (ValueError, AttributeError) as error:
        raise DataInvalid(f"{path} cannot be read: {error}", mend="materialize the panel again (Dagster group `validation`)") from error
    same = version == data_version
    note = "" if same else f"the panel was written anew since (now {version[:12]}); the journal keeps the bars it used"
    return PanelBehind(data_version=data_version, same_version=same, raw_files=files, note=note)


class FoundBar(msgspec.Struct, frozen=True, kw_only=True):
    """A bar in the journal, and the entry that brought it."""

    seq: int
    known_at: datetime | None
    bar: BarLine


def find_bar(entries: Iterable[JournalEntry], session: str, column: int) -> FoundBar | None:
    """The journaled bar of a session: from its own entry, which is what was decided on, else from a history that was looked back on."""
    found, history = None, None
    for entry in entries:
        frame = entry.frame
        if isinstance(frame, e.BarsClosed) and frame.session == session:
            cells = {name: None if (row := getattr(frame, name)) is None else row[column] for name in FIELDS}
            found = FoundBar(seq=entry.seq, known_at=frame.known_at, bar=_line(session, frame.data_version, cells))
        elif isinstance(frame, e.HistoryLoaded) and session in frame.sessions and frame.has_prices:
            row = frame.sessions.index(session)
            cells = {name: None if (grid := getattr(frame, name)) is None else grid[row][column] for name in FIELDS}
            history = FoundBar(seq=entry.seq, known_at=None, bar=_line(session, frame.data_version, cells))
    return found or history


def explain_bar(story: Story, found: FoundBar, column: int, data: Path) -> BarExplanation:
    """What used a bar: every decision whose window it lay in, with the orders it led to in that instrument."""
    sessions = sorted(story.versions)
    instrument, here, window = story.state.instruments[column], sessions.index(found.bar.session), rows_kept(story.state)
    panel = panel_behind(data, story.state.source, found.bar.data_version)
    (bar,), restated = _with_origins([found.bar], data, story.state.source, instrument.symbol, panel)
    uses = []
    for recorded in story.decisions:
        later = bisect_right(sessions, recorded.made.session) - 1 - here  # by the newest bars it knew: its own session may have none
        if 0 <= later < window:
            uses.append(_use(story, recorded, instrument.instrument_id, later))
    return BarExplanation(
        symbol=instrument.symbol,
        session=found.bar.session,
        bar=bar,
        seq=found.seq,
        known_at=found.known_at,
        source=story.state.source,
        panel=msgspec.structs.replace(panel, note="; ".join(filter(None, (panel.note, restated)))),
        decisions=tuple(uses),
    )


def _use(story: Story, recorded: Recorded, instrument_id: str, later: int) -> BarUse:
    made = recorded.made
    mine = [key for key, order in story.orders.items() if order.decision_id == made.decision_id and order.instrument_id == instrument_id]
    score = dict(zip(made.instruments, e.unpacked(made.scores), strict=True)).get(instrument_id)
    return BarUse(decision_id=made.decision_id, session=made.session, sessions_later=later, score=score, orders=tuple(mine))
