"""Features and labels as they are stored: arrays for training, a table for SQL and people."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hedgefund_core import layout
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features import FeaturePanel
from hedgefund_core.quant.labels import Labels
from hedgefund_core.schemas import LABELS, features_table
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import arrow_schema


def label_arrays(source: str) -> str:
    """Relative name of the label arrays of a source."""
    return layout.feature_arrays(source).replace("features.npz", "labels.npz")


def write_features(lake: Lake, panel: Panel, features: FeaturePanel, *, recorded_at: datetime, run_id: str) -> str:
    """Store feature values as arrays and as a table; returns the sha256 of the arrays."""
    table = features_table(features.names)
    columns = {**_keys(panel), **{name: _cells(features.values[:, :, i]) for i, name in enumerate(features.names)}}
    rows = pa.table([columns[name] for name in table.column_names], schema=arrow_schema(table))
    lake.write_table(table, panel.source, rows, recorded_at=recorded_at, run_id=run_id)
    arrays = {
        "values": features.values,
        "names": np.array(features.names, dtype=np.str_),
        "sessions": panel.sessions,
        "symbols": np.array(panel.symbols, dtype=np.str_),
        "data_version": np.array([panel.data_version], dtype=np.str_),
    }
    return lake.write_arrays(layout.feature_arrays(panel.source), arrays)


def read_features(lake: Lake, panel: Panel) -> FeaturePanel:
    """Feature values of exactly this panel; raises DataInvalid if they were computed from other data."""
    arrays = lake.read_arrays(layout.feature_arrays(panel.source))
    if str(arrays["data_version"][0]) != panel.data_version:
        message = f"features of {panel.source} were computed from another panel"
        raise DataInvalid(message, mend=f"materialize the asset {panel.source}/features again")
    return FeaturePanel(
        values=arrays["values"].astype(np.float64),
        names=tuple(str(name) for name in arrays["names"]),
        sessions=panel.sessions,
        symbols=panel.symbols,
    )


def write_labels(lake: Lake, panel: Panel, labels: Labels, *, recorded_at: datetime, run_id: str) -> str:
    """Store labels as arrays and as a table; a label is known after its last session only."""
    known = np.full(len(panel.sessions), np.datetime64("NaT"), dtype="datetime64[us]")
    inside = labels.end < len(panel.sessions)
    if panel.known_at is not None:
        known[inside] = panel.known_at[labels.end[inside]]
    horizon = pa.repeat(pa.scalar(labels.horizon, pa.int64()), panel.close.size)
    columns = {**_keys(panel), "horizon": horizon, "value": _cells(labels.values)}
    columns["known_at"] = _moments(known, len(panel.symbols))
    rows = pa.table([columns[name] for name in LABELS.column_names], schema=arrow_schema(LABELS))
    lake.write_table(LABELS, panel.source, rows, recorded_at=recorded_at, run_id=run_id)
    arrays = {
        "values": labels.values,
        "start": labels.start,
        "end": labels.end,
        "horizon": np.array([labels.horizon]),
        "sessions": panel.sessions,
        "data_version": np.array([panel.data_version], dtype=np.str_),
    }
    return lake.write_arrays(label_arrays(panel.source), arrays)


def read_labels(lake: Lake, panel: Panel) -> Labels:
    """Labels of exactly this panel; raises DataInvalid if they were computed from other data."""
    arrays = lake.read_arrays(label_arrays(panel.source))
    if str(arrays["data_version"][0]) != panel.data_version:
        message = f"labels of {panel.source} were computed from another panel"
        raise DataInvalid(message, mend=f"materialize the asset {panel.source}/labels again")
    return Labels(
        values=arrays["values"].astype(np.float64),
        start=arrays["start"].astype(np.int64),
        end=arrays["end"].astype(np.int64),
        horizon=int(arrays["horizon"].astype(np.int64)[0]),
    )


def _keys(panel: Panel) -> dict[str, pa.Array]:
    """Symbol, session and known_at of every cell, in (session, symbol) order."""
    known = np.full(len(panel.sessions), np.datetime64("NaT"), dtype="datetime64[us]") if panel.known_at is None else panel.known_at
    index = pa.array(np.tile(np.arange(len(panel.symbols), dtype=np.int32), len(panel.sessions)))
    return {
        "symbol": pa.DictionaryArray.from_arrays(index, pa.array(list(panel.symbols), pa.string())).cast(pa.string()),
        "session": pa.array(np.repeat(panel.sessions, len(panel.symbols)).astype("datetime64[D]")),
        "known_at": _moments(known, len(panel.symbols)),
    }


def _moments(values: NDArray[np.datetime64], times: int) -> pa.Array:
    return pa.array(np.repeat(values, times)).cast(pa.timestamp("us", tz="UTC"))


def _cells(values: Floats) -> pa.Array:
    return pa.array(values.ravel(), pa.float64(), from_pandas=True)
