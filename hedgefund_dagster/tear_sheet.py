"""The tear sheet: one HTML file that needs nothing else, in the report order of ``docs``.

What you may conclude -> risk promised against kept -> costs -> return with its interval -> bias. All numbers come from
``hedgefund_core.backtest``; this module only draws them. plotly.js is embedded once, so that the file opens without a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import plotly.io
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs

from hedgefund_core.backtest.baselines import Baseline
from hedgefund_core.backtest.conclusions import Section, plausibility_alarm
from hedgefund_core.backtest.placebo import PlaceboResult
from hedgefund_core.backtest.report import (
    MonthlyCosts,
    MonthlyTable,
    Promise,
    drawdown_series,
    exposure,
    monthly_costs,
    monthly_returns,
    rolling_sharpe,
    rolling_volatility,
)
from hedgefund_core.backtest.result import BacktestResult
from hedgefund_core.backtest.stress import StressLoss
from hedgefund_core.backtest.targets import TargetChance
from hedgefund_core.quant.measures import Measure
from hedgefund_core.risk.limits import Mandate, promised
from hedgefund_dagster.tear_sheet_figures import all_figures

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What was concluded from a result: sentences, promises, chances, stresses, and facts for the head of the page."""

    sections: Sequence[Section]
    promises: Sequence[Promise]
    chances: Sequence[TargetChance]
    stresses: Sequence[StressLoss]
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TearSheetData:
    """Everything on the page; series have shape (n,) on ``sessions``, weights (n, m).

    Attributes
    ----------
    equity : growth of 1; ``baselines`` label -> growth of 1. placebo_band : its 5 % and 95 % quantiles, or None.
    drawdown : positive losses over the whole record; ``drawdown_since_resume`` the same per episode, or None.
    ex_ante_volatility, realized_volatility : a year, NaN where not known.
    """

    title: str
    subtitle: str
    book_label: str
    verdicts: Verdicts
    measures: Mapping[str, Measure]
    sessions: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    equity: Floats
    baselines: Mapping[str, Floats]
    placebo_band: tuple[Floats, Floats] | None
    drawdown: Floats
    drawdown_since_resume: Floats | None
    drawdown_limit: float
    gross: Floats
    net: Floats
    max_gross: float
    promised_volatility: float
    ex_ante_volatility: Floats
    realized_volatility: Floats
    rolling_sharpe: Floats
    monthly: MonthlyTable
    costs: MonthlyCosts
    weights: Floats


def tear_sheet_data(
    result: BacktestResult,
    mandate: Mandate,
    verdicts: Verdicts,
    *,
    title: str,
    subtitle: str,
    baselines: Mapping[str, Baseline],
    placebo: PlaceboResult | None = None,
) -> TearSheetData:
    """The page of a backtest that starts at the result's first session; baselines and placebo end with it."""
    n, years = len(result.sessions), result.sessions_per_year
    shown, trace = exposure(result), result.trace
    return TearSheetData(
        title=title,
        subtitle=subtitle,
        book_label="This book",
        verdicts=verdicts,
        measures=result.measures(),
        sessions=result.sessions,
        symbols=result.symbols,
        equity=result.equity / result.initial_cash,
        baselines={baseline.label: _aligned(baseline.equity, n) for baseline in baselines.values()},
        placebo_band=None if placebo is None else (_aligned(placebo.band[0], n), _aligned(placebo.band[-1], n)),
        drawdown=drawdown_series(result),
        drawdown_since_resume=None if trace is None else trace.drawdown,
        drawdown_limit=mandate.limits.drawdown_flatten,
        gross=shown.gross,
        net=shown.net,
        max_gross=mandate.limits.max_gross,
        promised_volatility=promised(mandate.target_volatility, "volatility", mandate),
        ex_ante_volatility=np.full(n, np.nan) if trace is None else trace.volatility,
        realized_volatility=rolling_volatility(result.returns, sessions_per_year=years),
        rolling_sharpe=rolling_sharpe(result.returns, sessions_per_year=years),
        monthly=monthly_returns(result.returns, result.sessions),
        costs=monthly_costs(result),
        weights=result.weights,
    )


def _aligned(values: Floats, n: int) -> Floats:
    """The last ``n`` values, NaN before where there are fewer: both series end at the same session."""
    return np.concatenate([np.full(max(0, n - len(values)), np.nan), values[-n:]])


def write_tear_sheet(path: Path, data: TearSheetData) -> None:
    """Write the page to ``path``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".partial")
    draft.write_text(_page(data), encoding="utf-8")
    draft.replace(path)


# ---- the page ---------------------------------------------------------------------------------------------------------


def _page(data: TearSheetData) -> str:
    plots = {name: _plot(name, figure) for name, figure in all_figures(data).items()}
    verdicts = data.verdicts
    under = {  # what stands under the sentences of each section
        0: plots["equity"],
        1: _promises(verdicts.promises)
        + plots["volatility"]
        + plots["drawdown"]
        + _pair(plots["exposure"], _stresses(verdicts.stresses))
        + plots["weights"],
        2: plots["costs"],
        3: _chances(verdicts.chances) + plots["rolling_sharpe"] + plots["monthly"],
    }
    body = "".join(_section(index, section, under.get(index, "")) for index, section in enumerate(verdicts.sections))
    alarm = plausibility_alarm(data.measures["sharpe_ratio"].value)
    banner = "" if alarm is None else f'<p class="alarm">{escape(alarm)}</p>'
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(data.title)}</title><style>{STYLE}</style><script>{get_plotlyjs()}</script></head><body><main>"
        f'<header><h1>{escape(data.title)}</h1><p class="sub">{escape(data.subtitle)}</p>{_facts(verdicts.facts)}</header>'
        f"{banner}{_cards(data)}{body}<footer>Past results, net of the stated costs, on the stated data. No promise of any return.</footer>"
        f"</main></body></html>"
    )


def _section(index: int, section: Section, under: str) -> str:
    head = f'<h2><span class="n">{index + 1}</span>{escape(section.title)}</h2>'
    return f"<section>{head}{_lines(section.lines)}{under}</section>"


def _plot(name: str, figure: object) -> str:
    html: str = plotly.io.to_html(
        figure,
        include_plotlyjs=False,
        full_html=False,
        div_id=f"plot-{name}",
        config={"responsive": True, "displaylogo": False, "displayModeBar": False},
    )
    return f'<figure class="plot">{html}</figure>'


def _pair(left: str, right: str) -> str:
    return f'<div class="pair">{left}{right}</div>'


def _lines(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _facts(facts: Mapping[str, str]) -> str:
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f'<dl class="facts">{items}</dl>'


def _cards(data: TearSheetData) -> str:
    measures = data.measures
    cards = [
        ("Sharpe ratio, net", f"{measures['sharpe_ratio'].value:.2f}", _range(measures["sharpe_ratio"], "{:.2f}")),
        ("Volatility a year", f"{measures['volatility'].value:.1%}", f"promised {data.promised_volatility:.0%}"),
        ("Maximum drawdown", f"{measures['max_drawdown'].value:.1%}", f"flattening at {data.drawdown_limit:.0%} an episode"),
        ("Return a year, net", f"{measures['annual_return'].value:.1%}", f"{len(data.sessions):,} sessions"),
    ]
    if "beta" in measures:
        cards.append(("Beta", f"{measures['beta'].value:z.2f}", _range(measures["beta"], "{:z.2f}")))
    if "turnover" in measures:
        cards.append(("Turnover a year", f"{measures['turnover'].value:.1f} ×", "both sides, of equity"))
    return '<div class="cards">' + "".join(f"<div><h3>{a}</h3><b>{b}</b><small>{c}</small></div>" for a, b, c in cards) + "</div>"


def _range(measure: Measure, form: str) -> str:
    if measure.low is None or measure.high is None:
        return "no interval known"
    return f"95 %: {form.format(measure.low)} to {form.format(measure.high)}"


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    return (
        f'<div class="table"><table><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{cells}</tbody></table></div>'
    )


def _mark(good: bool, yes: str, no: str) -> str:  # noqa: FBT001 - a verdict is what is passed
    """A word and a sign, not only a colour."""
    return f'<span class="ok">✓ {yes}</span>' if good else f'<span class="bad">✕ {no}</span>'


def _promises(promises: Sequence[Promise]) -> str:
    rows = [
        (
            escape(promise.name),
            promise.shown(promise.promised),
            promise.shown(promise.kept),
            "-" if np.isnan(promise.share_within) else f"{promise.share_within:.1%}",
            "not measured" if promise.kept_word == "not measured" else _mark(promise.kept_word == "kept", "kept", "exceeded"),
            "by construction" if promise.by_construction else "reported",
            escape(promise.detail),
        )
        for promise in promises
    ]
    return _table("Every promise of the mandate", ("Figure", "Promised", "Worst or measured", "Within", "", "How", "What it is"), rows)


def _stresses(stresses: Sequence[StressLoss]) -> str:
    rows = [(escape(s.name), f"{s.loss:.1%}", f"{s.limit:.0%}", _mark(s.within, "within", "beyond"), escape(s.detail)) for s in stresses]
    return _table("Stress of the last book held: loss of equity", ("Stress", "Loss", "Limit", "", "What it is"), rows)


def _chances(chances: Sequence[TargetChance]) -> str:
    rows = [
        (
            escape(c.label),
            f"{'&gt;' if c.above else '&lt;'} {c.shown(c.bound)}",
            c.shown(c.value),
            f"{c.shown(c.low)} to {c.shown(c.high)}",
            f'<span class="bar"><i style="width:{100 * c.probability:.0f}%"></i></span> {c.probability:.0%}',
            f"{c.probability_low:.0%} to {c.probability_high:.0%}",
        )
        for c in chances
    ]
    head = ("Target of the mission", "Bound", "Measured", "95 % of resampled histories", "Probability met", "its interval")
    return _table("Probability of meeting the targets, resampled from this record", head, rows)


STYLE = """
:root{--ink:#1c2024;--soft:#5b6570;--line:#e3e6e9;--blue:#0072B2;--bad:#b2431c;--ok:#00694d}
*{box-sizing:border-box}
body{margin:0;background:#f4f5f6;color:var(--ink);font:15px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 20px 48px}
header{margin-bottom:18px}h1{font-size:26px;line-height:1.2;margin:0 0 4px}.sub{margin:0;color:var(--soft)}
.facts{display:flex;flex-wrap:wrap;gap:6px 28px;margin:14px 0 0}
.facts dt{font-size:12px;color:var(--soft)}.facts dd{margin:0;font-weight:600}
.alarm{border-left:5px solid var(--bad);background:#fdeee8;padding:12px 16px;border-radius:6px;font-weight:600}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(158px,1fr));gap:12px;margin:0 0 18px}
.cards div{background:#fff;border:1px solid var(--line);border-radius:10px;padding:12px 16px}
.cards h3{margin:0;font-size:12.5px;font-weight:500;color:var(--soft)}.cards b{display:block;font-size:25px;line-height:1.3}
.cards small{color:var(--soft)}
section{background:#fff;border:1px solid var(--line);border-radius:12px;padding:20px 24px;margin-bottom:18px}
h2{font-size:19px;margin:0 0 8px;display:flex;align-items:center;gap:10px}
.n{background:var(--blue);color:#fff;border-radius:50%;width:26px;height:26px;font-size:14px;display:inline-grid;place-items:center}
ul{margin:0 0 14px;padding-left:20px}li{margin:3px 0;max-width:92ch}
.plot{margin:14px 0 0;min-width:0}.pair{display:grid;gap:8px}
.table{overflow-x:auto;margin:10px 0}table{border-collapse:collapse;width:100%;min-width:700px;font-size:13.5px}
caption{text-align:left;font-weight:600;padding:6px 0}
th,td{text-align:left;padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:500;white-space:nowrap}td:nth-child(2),td:nth-child(3){font-variant-numeric:tabular-nums;white-space:nowrap}
td:nth-child(6){white-space:nowrap}
.ok{color:var(--ok);white-space:nowrap}.bad{color:var(--bad);font-weight:600;white-space:nowrap}
.bar{display:inline-block;width:84px;height:9px;background:#e9ecef;border-radius:5px;overflow:hidden;margin-right:6px}
.bar i{display:block;height:100%;background:var(--blue)}
footer{color:var(--soft);font-size:13px;text-align:center}
@media(max-width:640px){section{padding:16px 12px}main{padding:16px 8px}}
@media print{body{background:#fff}section{break-inside:avoid}}
"""
