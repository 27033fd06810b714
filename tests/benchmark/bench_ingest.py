"""Ingest and full validation of a folder of daily bars, as Dagster runs it, in a process of its own: seconds and memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from tests.benchmark.data import is_real, price_rows
from tests.benchmark.row import Row, seconds

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import os, dagster as dg
from hedgefund_dagster.definitions import defs
keys = [dg.AssetKey(["files", name]) for name in ("raw", "bars", "corporate_actions", "validated_bars")]
with dg.DagsterInstance.ephemeral() as instance:
    done = defs.resolve_job_def("daily_research").get_subset(asset_selection=set(keys)).execute_in_process(instance=instance)
assert done.success
"""
LONGEST_SECONDS, MOST_MEGABYTES = 30.0, 1500.0


def measure(folder: Path) -> Iterator[Row]:
    """Process start to the last check; memory is the greatest resident set of the child."""
    rows, theirs = price_rows(), folder / "mine"
    theirs.mkdir()
    pq.write_table(rows, theirs / "bars.parquet")
    env = {**os.environ, "HEDGEFUND_DATA_DIR": str(folder / "data"), "HEDGEFUND_SOURCES__FILES__FOLDER": str(theirs)}
    env["HEDGEFUND_SOURCES__FILES__CALENDAR"] = "XNYS" if is_real() else "observed"
    took = seconds(lambda: _run(env))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1024.0 if sys.platform == "linux" else 1024.0**2)
    note = f"{rows.num_rows:,} rows, process start and every check included"
    yield Row(name="ingest + validation", ours=took, unit="s", goal="<= 30 s", met=took <= LONGEST_SECONDS, note=note)
    note = "of the greatest child process so far"
    yield Row(name="its greatest memory", ours=peak, unit="MB", goal="<= 1,500 MB", met=peak <= MOST_MEGABYTES, note=note)


def _run(env: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
