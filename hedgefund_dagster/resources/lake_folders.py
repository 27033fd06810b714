"""Folders that keep every version: which of their files count, one writer at a time, nothing lost when files are merged.

A compacted file (``….compact.parquet``) names in its manifest the files it takes the place of. The manifest is written first, the
data file appears by one rename: from that instant on the replaced files no longer count, whether they are still there or not.
"""

from __future__ import annotations

import fcntl
import hashlib
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from hedgefund_core.errors import DataUnavailable
from hedgefund_dagster.resources.lake_files import (
    Manifest,
    parquet_bytes,
    read_manifest,
    read_parquet,
    write_atomic,
    write_manifest,
)

COMPACTED = ".compact.parquet"
_TRIES = 5
_DIGITS = 6


@contextmanager
def exclusive(path: UPath) -> Iterator[None]:
    """One writer of a file or folder at a time, over all processes of the machine; an object store is left to its one writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(path, pathlib.Path):
        yield
        return
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def live_files(folder: UPath) -> list[UPath]:
    """The data files that count, in the order of their writes."""
    paths = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith(".")) if folder.exists() else []
    replaced: set[str] = set()
    for path in paths:
        manifest = read_manifest(path) if path.name.endswith(COMPACTED) else None
        replaced |= set(manifest.replaces) if manifest is not None else set()
    return [path for path in paths if path.name not in replaced]


def read_folder(folder: UPath) -> pa.Table | None:
    """Every row of a folder, None if there is none; a compaction meanwhile only makes it look again."""
    return read_folders([folder])


def read_folders(folders: list[UPath]) -> pa.Table | None:
    """Every row of several folders, as `read_folder`."""
    for _ in range(_TRIES):
        try:
            tables = [read_parquet(path) for folder in folders for path in live_files(folder)]
        except FileNotFoundError:
            continue
        return pa.concat_tables(tables).combine_chunks() if tables else None
    message = f"the files of {folders[0].parent.name} change faster than they can be read"
    raise DataUnavailable(message, mend="read again when the compaction has ended")


def last_content(folder: UPath) -> str:
    """Digest of the rows the latest write was given: the same rows again cannot be news."""
    paths = live_files(folder)
    manifest = read_manifest(paths[-1]) if paths else None
    return "" if manifest is None else manifest.content_sha256


def write_part(folder: UPath, fresh: pa.Table, *, offered: str, run_id: str) -> Manifest:
    """One more file of new rows, the manifest beside it; ``offered`` is the digest of all that the write was given."""
    span = pc.min_max(fresh.column("recorded_at")).as_py()
    recorded: datetime = span["max"]
    content = parquet_bytes(fresh)
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"{_next_place(folder, recorded)}-{digest[:12]}.parquet"
    manifest = Manifest(
        file=path.name,
        sha256=write_atomic(path, content, digest=digest),
        content_sha256=offered,
        rows=fresh.num_rows,
        recorded_at=recorded.isoformat(),
        run_id=run_id,
    )
    write_manifest(path, manifest)
    return manifest


def _next_place(folder: UPath, recorded: datetime) -> str:
    """Time and number that sort after every write so far, also when the clock stood still or went back."""
    stamp, written = f"{recorded:%Y%m%dT%H%M%S%f}", live_files(folder)
    if not written:
        return f"{stamp}-000001"
    last, number = written[-1].name.split("-")[:2]
    return f"{max(stamp, last)}-{int(number) + 1 if number.isdigit() and len(number) == _DIGITS else 1:0{_DIGITS}d}"
