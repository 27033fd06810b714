"""The plots of the tear sheet. Colours are those of Okabe & Ito (2008), which colour-blind readers can tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

if TYPE_CHECKING:
    from hedgefund_dagster.tear_sheet import TearSheetData

Floats = NDArray[np.float64]

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#7A7A7A"
BASELINE_COLOURS = (GREY, ORANGE, GREEN, PURPLE, SKY)
BASELINE_DASHES = ("dot", "solid", "solid", "dash", "dashdot")
DIVERGING = [[0.0, "#B2431C"], [0.25, "#E9A27F"], [0.5, "#F7F7F5"], [0.75, "#7FB3D8"], [1.0, "#0A5A94"]]
"""Losses and shorts in vermilion, gains and longs in blue, zero in white."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
HEATMAP_COLUMNS = 400
FEWEST_ROLLED = 10
"""Fewer values of a rolling measure than this make no line that one can see."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def all_figures(data: TearSheetData) -> dict[str, go.Figure]:
    """Every plot by name."""
    return {
        "equity": equity(data),
        "volatility": volatility(data),
        "drawdown": drawdown(data),
        "exposure": exposure(data),
        "weights": weights(data),
        "costs": costs(data),
        "rolling_sharpe": rolling_sharpe(data),
        "monthly": monthly(data),
    }


def equity(data: TearSheetData) -> go.Figure:
    """Growth of 1 against the baselines, on a log axis so that equal ratios look equal, over the placebo band."""
    figure = go.Figure()
    if data.placebo_band is not None:
        low, high = data.placebo_band
        for values, fill in ((low, None), (high, "tonexty")):
            line = go.Scatter(
                x=data.sessions,
                y=values,
                mode="lines",
                line={"width": 0},
                fill=fill,
                fillcolor="rgba(122,122,122,0.20)",
                name="Placebo band, 5 to 95 %",
                legendgroup="placebo",
                showlegend=fill is not None,
                hoverinfo="skip",
            )
            figure.add_trace(line)
    for index, (label, values) in enumerate(data.baselines.items()):
        style = {"width": 1.4, "color": BASELINE_COLOURS[index % 5], "dash": BASELINE_DASHES[index % 5]}
        figure.add_trace(go.Scatter(x=data.sessions, y=values, mode="lines", name=label, line=style, hovertemplate="%{y:.2f}"))
    figure.add_trace(_line(data.sessions, data.equity, data.book_label, BLUE, width=2.6, hover="%{y:.3f}"))
    _style(figure, "Growth of 1, net of costs", "Equity (log scale, start = 1)", height=460)
    figure.update_yaxes(type="log", tickformat=".2~f", nticks=8)
    return figure


def volatility(data: TearSheetData) -> go.Figure:
    """Ex-ante and realized volatility beside the promise."""
    figure = go.Figure()
    figure.add_trace(_line(data.sessions, data.ex_ante_volatility, "Ex ante, positions held", SKY, width=1.2, hover="%{y:.1%}"))
    figure.add_trace(_line(data.sessions, data.realized_volatility, "Realized, 63 sessions", BLUE, width=2.0, hover="%{y:.1%}"))
    _limit(figure, data.promised_volatility, f"promised {data.promised_volatility:.0%}")
    return _style(figure, "Volatility: promised against kept", "Volatility a year", percent=True)


def drawdown(data: TearSheetData) -> go.Figure:
    """Loss below the high-water mark; down is down."""
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=data.sessions,
            y=-data.drawdown,
            mode="lines",
            line={"width": 1.2, "color": VERMILION},
            fill="tozeroy",
            fillcolor="rgba(213,94,0,0.18)",
            name="Whole record",
            hovertemplate="%{y:.1%}",
        )
    )
    if data.drawdown_since_resume is not None:
        figure.add_trace(_line(data.sessions, -data.drawdown_since_resume, "Since last resume", BLUE, width=1.2, hover="%{y:.1%}"))
    _limit(figure, -data.drawdown_limit, f"flattening at {data.drawdown_limit:.0%}")
    return _style(figure, "Drawdown from the high-water mark", "Drawdown", percent=True)


def exposure(data: TearSheetData) -> go.Figure:
    """Gross and net after each session, with their caps."""
    figure = go.Figure()
    figure.add_trace(_line(data.sessions, data.gross, "Gross", BLUE, width=1.4, hover="%{y:.0%}"))
    figure.add_trace(_line(data.sessions, data.net, "Net", ORANGE, width=1.4, hover="%{y:.0%}"))
    _limit(figure, data.max_gross, f"gross cap {data.max_gross:.0%}")
    return _style(figure, "Exposure after each session", "Share of equity", percent=True)


def weights(data: TearSheetData) -> go.Figure:
    """Weight of each name over time; sampled, since a screen has fewer columns than a record has sessions."""
    rows = np.unique(np.linspace(0, len(data.sessions) - 1, HEATMAP_COLUMNS).astype(np.int64))
    values = data.weights[rows].T
    bound = max(float(np.nanmax(np.abs(values))), 0.01) if values.size else 0.01
    heat = go.Heatmap(
        x=data.sessions[rows],
        y=list(data.symbols),
        z=values,
        zmin=-bound,
        zmax=bound,
        colorscale=DIVERGING,
        colorbar={"title": {"text": "Weight"}, "tickformat": ".0%", "thickness": 12, "outlinewidth": 0},
        hovertemplate="%{y} %{x|%Y-%m-%d}<br>%{z:.1%}<extra></extra>",
    )
    figure = _style(go.Figure(heat), "Weights: longs blue, shorts vermilion", "", height=max(300, 18 * len(data.symbols) + 130))
    figure.update_yaxes(autorange="reversed", tickfont={"size": 11}, showgrid=False)
    figure.update_layout(hovermode="closest")
    return figure


def costs(data: TearSheetData) -> go.Figure:
    """Turnover above, what it cost below, a month a bar."""
    months = data.costs.months.astype("datetime64[D]")
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.09)
    figure.add_trace(go.Bar(x=months, y=data.costs.turnover, name="Turnover", marker_color=SKY, hovertemplate="%{y:.0%}"), row=1, col=1)
    for name, values, colour in (("Commission", data.costs.commission, ORANGE), ("Borrow", data.costs.borrow, PURPLE)):
        bar = go.Bar(x=months, y=values, name=name, marker_color=colour, hovertemplate="%{y:.3%}")
        figure.add_trace(bar, row=2, col=1)
    _style(figure, "Turnover and costs by month", "", height=440)
    figure.update_layout(barmode="stack", bargap=0.1)
    figure.update_yaxes(title_text="Traded / equity", tickformat=".0%", row=1, col=1)
    figure.update_yaxes(title_text="Costs / equity", tickformat=".2%", row=2, col=1)
    return figure


def rolling_sharpe(data: TearSheetData) -> go.Figure:
    """Sharpe ratio of the last year: how much one year says."""
    figure = go.Figure()
    figure.add_trace(_line(data.sessions, data.rolling_sharpe, "Last 252 sessions", BLUE, width=1.8, hover="%{y:.2f}"))
    figure.add_hline(y=0.0, line={"color": "#444", "width": 1})
    if np.isfinite(data.rolling_sharpe).sum() < FEWEST_ROLLED:
        words = "The record is hardly longer than one window<br>of 252 sessions: there is nothing to roll yet"
        figure.add_annotation(text=words, showarrow=False, x=0.5, y=0.7, xref="paper", yref="paper")
    return _style(figure, "Rolling Sharpe ratio, net of costs", "Sharpe ratio, annual")


def monthly(data: TearSheetData) -> go.Figure:
    """Return of each month with its number where there is room."""
    table = data.monthly
    bound = max(float(np.nanmax(np.abs(table.values))), 0.01) if np.isfinite(table.values).any() else 0.01
    heat = go.Heatmap(
        x=list(MONTHS),
        y=[str(year) for year in table.years],
        z=table.values,
        zmin=-bound,
        zmax=bound,
        colorscale=DIVERGING,
        text=[["" if np.isnan(value) else f"{100 * value:z.1f}" for value in row] for row in table.values],
        texttemplate="%{text}",
        textfont={"size": 10},
        xgap=1,
        ygap=1,
        colorbar={"title": {"text": "Return"}, "tickformat": ".0%", "thickness": 12, "outlinewidth": 0},
        hovertemplate="%{x} %{y}<br>%{z:.2%}<extra></extra>",
    )
    figure = _style(go.Figure(heat), "Monthly returns in %, net of costs", "", height=max(260, 20 * len(table.years) + 130))
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    figure.update_xaxes(side="top", showgrid=False)
    # Narrow pages turn the months upright: the title stays above them.
    figure.update_layout(hovermode="closest", margin={"t": 92}, title={"y": 0.99, "yanchor": "top", "yref": "container"})
    return figure


def _line(x: NDArray[np.datetime64], y: Floats, name: str, colour: str, *, width: float, hover: str) -> go.Scatter:
    return go.Scatter(x=x, y=y, mode="lines", name=name, line={"width": width, "color": colour}, hovertemplate=hover)


def _limit(figure: go.Figure, level: float, text: str) -> None:
    """A dashed line of a limit, labelled at its right end."""
    figure.add_hline(
        y=level,
        line={"dash": "dash", "width": 1.4, "color": VERMILION},
        annotation={"text": text, "font": {"size": 12, "color": VERMILION}, "bgcolor": "rgba(255,255,255,0.8)"},
        annotation_position="top right",
    )


def _style(figure: go.Figure, title: str, y_title: str, *, height: int = 340, percent: bool = False) -> go.Figure:
    figure.update_layout(
        title={"text": title, "x": 0.0, "xanchor": "left", "xref": "paper", "font": {"size": 16}},
        template="plotly_white",
        font={"family": FONT, "size": 13, "color": "#222"},
        height=height,
        margin={"l": 64, "r": 24, "t": 56, "b": 64},
        legend={"orientation": "h", "yanchor": "top", "y": -0.12, "x": 0.0},
        hovermode="x unified",
        autosize=True,
    )
    figure.update_xaxes(showgrid=False, ticks="outside", linecolor="#bbb")
    figure.update_yaxes(title_text=y_title, gridcolor="#e9e9e9", zerolinecolor="#bbb", automargin=True)
    if percent:
        figure.update_yaxes(tickformat=".0%")
    return figure
