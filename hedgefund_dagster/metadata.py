"""What the UI shows of an asset: counts, ranges, and a small plot that needs no plotting library."""

from __future__ import annotations

import base64
import html

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hedgefund_core.quant.bars import Floats

OWNERS = ["team:research"]
_WIDTH, _HEIGHT = 480, 90


def sparkline(values: Floats, title: str) -> dg.MarkdownMetadataValue:
    """A line of at most 480 points as an inline SVG picture; NaN are gaps left out."""
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return dg.MetadataValue.md(f"{title}: no values")
    picked = finite[np.linspace(0, len(finite) - 1, min(len(finite), _WIDTH)).astype(int)]
    low, high = float(picked.min()), float(picked.max())
    x = np.linspace(0, _WIDTH, len(picked))
    y = _HEIGHT - (picked - low) / ((high - low) or 1.0) * (_HEIGHT - 20)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT + 4}">'
        f'<text x="0" y="12" font-size="11" font-family="sans-serif">{html.escape(title)}: {low:.4g} to {high:.4g}</text>'
        f'<polyline fill="none" stroke="#2b6cb0" stroke-width="1.2" points="{points}"/></svg>'
    )
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})")


def table_metadata(rows: pa.Table) -> dict[str, dg.MetadataValue]:
    """Row count, symbols and range of a table with symbol and session."""
    found: dict[str, dg.MetadataValue] = {"dagster/row_count": dg.MetadataValue.int(rows.num_rows)}
    if rows.num_rows:
        span = pc.min_max(rows.column("session")).as_py()
        found["first_session"] = dg.MetadataValue.text(str(span["min"]))
        found["last_session"] = dg.MetadataValue.text(str(span["max"]))
        found["symbols"] = dg.MetadataValue.int(len(pc.unique(rows.column("symbol"))))
    return found
