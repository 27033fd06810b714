"""Live validation of one session against the Great Expectations suite on the same rows, and what validation holds of the whole file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from hedgefund_core.quant.bar_rules import BarColumns
from hedgefund_core.quant.bars import FIELDS, Panel, PriceKind
from hedgefund_core.quant.defects import RING_ROWS
from hedgefund_core.quant.defects.live_rows import LiveValidation, Told, told
from hedgefund_core.quant.defects.rows import check_bars, panel_of_rows
from hedgefund_core.schemas import VALIDATED_BARS
from hedgefund_dagster.resources.lake_files import arrow_schema
from tests.benchmark.data import is_real, price_rows
from tests.benchmark.row import Row, alternating_seconds

TIMES_FASTER, MOST_HELD, SESSIONS = 50.0, 1_000, 15


def measure(folder: Path) -> Iterator[Row]:
    """Live against a suite, live against batch, and the size of the quarantine."""
    del folder
    bars = _columns(price_rows())
    started = time.perf_counter()
    batch = [told(item, bars) for item in check_bars(bars)]
    took = time.perf_counter() - started
    note = "real rows" if is_real() else "made-up rows"
    held = {(item.symbol, item.session) for item in batch if item.severity == "error"}
    yield Row(name="all rules over the file", ours=took, unit="s", goal="within ingest's 30 s", met=took < 30.0, note=note)
    yield Row(name="rows held", ours=float(len(held)), unit="rows", goal=f"at most {MOST_HELD}", met=len(held) <= MOST_HELD, note=note)
    yield from _live(bars, batch, note)


def _live(bars: BarColumns, batch: list[Told], note: str) -> Iterator[Row]:
    days = _eventful(np.unique(bars.session), batch)
    history = _panel(bars).until(days[-SESSIONS - 1])
    live, found = LiveValidation(history.rows(max(0, history.shape[0] - RING_ROWS), history.shape[0])), []
    waiting = [_of_session(bars, day) for day in days[-SESSIONS:]]
    rows = len(waiting[-1].session)
    suite = _suite(_table(waiting[-1]))
    suite()  # the first suite of a process makes its context
    ours, theirs = alternating_seconds(lambda: found.extend(live.update(waiting.pop(0))), suite, repeats=SESSIONS)
    ratio = theirs / ours
    goal = f"{TIMES_FASTER:g}x"
    name = f"live validation of {rows} bars"
    yield Row(
        name=name,
        ours=1000 * ours,
        unit="ms",
        goal=goal,
        met=ratio >= TIMES_FASTER,
        peer="Great Expectations",
        theirs=1000 * theirs,
        ratio=ratio,
    )
    yield _pandera(_table(_of_session(bars, days[-1])), ours)
    expected = sorted(repr(item) for item in batch if days[-SESSIONS - 1] < item.known_session <= days[-1])
    same = float(expected == sorted(repr(item) for item in found))
    yield Row(
        name="live findings are the batch's", ours=same, unit="share", goal="all", met=same == 1.0, note=f"{len(expected)} findings, {note}"
    )


def _eventful(days: np.ndarray, batch: list[Told]) -> np.ndarray:
    """Days up to the one that revealed most defects, of those with enough history before: there is something to find."""
    counts = dict.fromkeys(days[RING_ROWS + SESSIONS :], 0)
    for item in batch:
        if item.known_session in counts:
            counts[item.known_session] += 1
    return np.asarray(days[days <= max(counts, key=lambda day: counts[day])])


def _pandera(rows: pa.Table, ours: float) -> Row:
    """The same expectations of rows in pandera, where it is installed."""
    name = f"live validation of {rows.num_rows} bars, second peer"
    try:
        import pandera.pandas as pandera
    except ImportError:
        return Row(name=name, ours=1000 * ours, unit="ms", goal="none", met=True, peer="pandera", note="not installed")
    price = pandera.Column(float, pandera.Check.gt(0))
    columns = dict.fromkeys(("open", "high", "low", "close"), price) | {"symbol": pandera.Column(str, unique=True)}
    schema = pandera.DataFrameSchema(columns, checks=pandera.Check(lambda frame: frame["high"] >= frame["low"]))
    frame = rows.to_pandas()
    schema.validate(frame)
    started = time.perf_counter()
    schema.validate(frame)
    theirs = time.perf_counter() - started
    return Row(
        name=name,
        ours=1000 * ours,
        unit="ms",
        goal="none",
        met=True,
        peer="pandera",
        theirs=1000 * theirs,
        ratio=theirs / ours,
        note="7 checks",
    )


def _suite(rows: pa.Table) -> Callable[[], object]:
    from hedgefund_dagster.defs.validation.expectations import validated

    return lambda: validated(VALIDATED_BARS, rows)


def _columns(rows: pa.Table) -> BarColumns:
    rows = rows.sort_by([("symbol", "ascending"), ("date", "ascending")])
    symbol = np.array(rows.column("symbol").to_pylist())
    return BarColumns(
        symbol=symbol,
        session=rows.column("date").cast(pa.timestamp("us")).to_numpy().astype("datetime64[D]"),
        fields={name: rows.column(name).to_numpy().astype(np.float64) for name in FIELDS},
        raw=np.full(len(symbol), "file"),
        source_row=np.arange(1, len(symbol) + 1),
        is_session=np.ones(len(symbol), dtype=bool),
        today=np.datetime64("2100-01-01"),
        tick=0.01,
    )


def _panel(bars: BarColumns) -> Panel:
    return panel_of_rows(bars.symbol, bars.session, bars.fields, price_kind=PriceKind.SPLIT_ADJUSTED, tick=bars.tick)


def _of_session(bars: BarColumns, day: np.datetime64) -> BarColumns:
    chosen = bars.session == day
    fields = {name: values[chosen] for name, values in bars.fields.items()}
    arrays = {name: getattr(bars, name)[chosen] for name in ("symbol", "session", "raw", "source_row", "is_session")}
    return replace(bars, fields=fields, **arrays)


def _table(bars: BarColumns) -> pa.Table:
    """One session's rows as the table of validated bars."""
    length = len(bars.session)
    close = bars.session[0].astype("datetime64[us]").astype(object)
    moments = {"ts": close, "known_at": close + timedelta(minutes=15), "recorded_at": close + timedelta(minutes=16)}
    columns = {
        "symbol": bars.symbol,
        "session": bars.session,
        **{name: [moment] * length for name, moment in moments.items()},
        "known_at_basis": ["assumed"] * length,
        **bars.fields,
        "adj_close": [None] * length,
        "source": ["files"] * length,
        "raw_sha256": ["0" * 64] * length,
        "source_row": bars.source_row,
    }
    schema = arrow_schema(VALIDATED_BARS)
    return pa.table([pa.array(columns[field.name]).cast(field.type) for field in schema], schema=schema)
