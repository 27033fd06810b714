"""Data files inside installed packages, found without importing the package (0.05 s instead of seconds)."""

from __future__ import annotations

import importlib.util
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_dagster.sources.source import RawPayload


def package_payload(*, source: str, dataset: str, package: str, distribution: str, path: str, retrieved_at: datetime) -> RawPayload:
    """The bytes of a package's data file; raises DataUnavailable if the package or file is absent."""
    spec = importlib.util.find_spec(package)
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent
    if folder is None or not (folder / path).is_file():
        message = f"the data file {path} of package {distribution} is not installed"
        raise DataUnavailable(message, mend=f"pip install {distribution}")
    try:
        release = version(distribution)
    except PackageNotFoundError:
        release = "unknown"
    content = (folder / path).read_bytes()
    return RawPayload.of(source, dataset, content, origin=f"{distribution}=={release}/{path}", retrieved_at=retrieved_at)


def read_csv(payload: RawPayload) -> pa.Table:
    """Table of a CSV payload (gzip by its ending); raises DataInvalid naming the payload."""
    try:
        raw = pa.BufferReader(payload.content)
        stream = pa.CompressedInputStream(raw, "gzip") if payload.suffix.endswith(".gz") else raw
        return pa_csv.read_csv(stream)
    except (pa.ArrowInvalid, OSError) as error:
        message = f"{payload.origin} is not readable CSV: {error}"
        raise DataInvalid(message) from error
