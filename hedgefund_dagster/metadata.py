"""What the UI shows of an asset: counts, ranges, and a small plot that needs no plotting library."""

from __future__ import annotations

import html
from itertools import pairwise
from urllib.parse import quote

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hedgefund_core.quant.bars import Floats

OWNERS = ["team:research"]
_WIDTH, _HEIGHT, _HEAD, _POINTS = 480, 90, 20, 120
_LONGEST_TITLE = 60
_PLAIN = "/:=,;'"
"""What a markdown link and a data address both take as it is."""
INLINE_LIMIT = 1000
"""From this many characters on the UI hides a markdown value behind a button."""


def sparkline(values: Floats, title: str) -> dg.MarkdownMetadataValue:
    """A line of at most 120 points as an SVG picture, short enough to be drawn on the page; NaN are left out."""
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return dg.MetadataValue.md(f"{title}: no values")
    low, high = float(finite.min()), float(finite.max())
    picked = finite[np.linspace(0, len(finite) - 1, min(len(finite), _POINTS)).astype(int)]
    heights = np.rint(_HEIGHT - (picked - low) / ((high - low) or 1.0) * (_HEIGHT - _HEAD)).astype(int)
    svg = _picture(title[:_LONGEST_TITLE], f"{_number(low)} to {_number(high)}, last {_number(float(finite[-1]))}", heights.tolist())
    return dg.MetadataValue.md(f"![plot](data:image/svg+xml,{quote(svg, safe=_PLAIN)})")


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:z.4g}"


def _picture(title: str, span: str, heights: list[int]) -> str:
    """Steps relative to the point before take half the characters of positions: that is what keeps the picture below the limit."""
    step = max(1, _WIDTH // (len(heights) - 1))
    moves = "".join(f"{step}{after - before:+d}".replace("+", ",") + "," for before, after in pairwise(heights)).replace(",-", "-")
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{_HEIGHT + 4}' font-size='11' font-family='arial'>"
        f"<text y='12'>{html.escape(title)}: {span}</text>"
        f"<path d='M0,{heights[0]}l{moves.removesuffix(',')}' fill='none' stroke='blue'/></svg>"
    )


def table_metadata(rows: pa.Table) -> dict[str, dg.MetadataValue]:
    """Row count, symbols and range of a table with symbol and session."""
    found: dict[str, dg.MetadataValue] = {"dagster/row_count": dg.MetadataValue.int(rows.num_rows)}
    if rows.num_rows:
        span = pc.min_max(rows.column("session")).as_py()
        found["first_session"] = dg.MetadataValue.text(str(span["min"]))
        found["last_session"] = dg.MetadataValue.text(str(span["max"]))
        found["symbols"] = dg.MetadataValue.int(len(pc.unique(rows.column("symbol"))))
    return found
