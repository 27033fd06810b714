"""Compaction: the many small files of a partition become one; every version and the history of its writes stay.

Order of the steps, each safe to be the last one before a crash: the new manifest (a manifest without its file means nothing), the new
file by one rename (from here on the files it names no longer count), then the old files and their manifests go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from hedgefund_core import layout
from hedgefund_core.errors import DataInvalid
from hedgefund_core.schemas import TABLES
from hedgefund_dagster.resources.lake_changes import equal_rows
from hedgefund_dagster.resources.lake_files import (
    Manifest,
    parquet_bytes,
    read_manifest,
    read_parquet,
    write_atomic,
    write_manifest,
)
from hedgefund_dagster.resources.lake_folders import COMPACTED, exclusive, live_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What a compaction of one folder did."""

    folder: str
    files_before: int
    files_after: int
    rows: int
    bytes_before: int
    bytes_after: int


def version_folders(root: UPath) -> list[UPath]:
    """Every folder whose files are versions: partitions of bars, sources of the other tables."""
    folders = list((root / layout.BARS).glob("source=*/partition=*"))
    for table in TABLES:
        if table.identity:
            folders += (root / layout.versions_folder(table.name, "x")).parent.glob("source=*")
    return sorted(folder for folder in folders if folder.is_dir())


def compact(root: UPath, *, at_least: int = 2) -> list[Compacted]:
    """Compact every folder that has that many files; returns what was done."""
    done = (compact_folder(folder, at_least=at_least) for folder in version_folders(root))
    return [found for found in done if found is not None]


def compact_folder(folder: UPath, *, at_least: int = 2) -> Compacted | None:
    """Merge the files of one folder; None if there was nothing to merge."""
    with exclusive(folder):
        before = live_files(folder)
        stale = [path for path in folder.glob("*.parquet") if path not in before]
        if len(before) < at_least and not stale:
            return None
        size = sum(path.stat().st_size for path in before)
        for _ in compaction_steps(folder):
            pass
        after = live_files(folder)
        manifest = read_manifest(after[0])
    return Compacted(
        folder="/".join(folder.parts[-3:]),
        files_before=len(before),
        files_after=len(after),
        rows=0 if manifest is None else manifest.rows,
        bytes_before=size,
        bytes_after=sum(path.stat().st_size for path in after),
    )


def compaction_steps(folder: UPath) -> Iterator[str]:
    """The steps themselves, named after what has just become durable; the caller holds the folder's lock."""
    paths = live_files(folder)
    if len(paths) > 1:
        rows = pa.concat_tables([read_parquet(path) for path in paths]).combine_chunks()
        content = parquet_bytes(rows, compression="zstd")
        if not equal_rows(pq.read_table(pa.BufferReader(content)), rows):
            message = f"the merged rows of {folder.parent.name} do not read back as they were"
            raise DataInvalid(message, mend="nothing was changed: keep the files as they are and report it")
        digest = hashlib.sha256(content).hexdigest()
        manifests = [_manifest_of(path) for path in paths]
        place = folder / f"{'-'.join(paths[-1].name.split('-')[:2])}-{digest[:12]}{COMPACTED}"
        write_manifest(place, _merged(manifests, place.name, digest, rows.num_rows))
        yield "manifest written"
        write_atomic(place, content, digest=digest)
        yield "file in its place"
    live = {path.name for path in live_files(folder)}
    for path in sorted(folder.glob("*.parquet")):
        if path.name not in live:
            path.unlink()
            yield f"{path.name} gone"
    for path in sorted(folder.glob("*.manifest.json")):
        if path.name.removesuffix(".manifest.json") not in live:
            path.unlink()
            yield f"{path.name} gone"


def _manifest_of(path: UPath) -> Manifest:
    """The manifest of a file; one whose writer died before leaving it is described by its bytes."""
    found = read_manifest(path)
    if found is not None:
        return found
    content = path.read_bytes()
    return Manifest(
        file=path.name, sha256=hashlib.sha256(content).hexdigest(), content_sha256="", rows=read_parquet(path).num_rows, recorded_at=""
    )


def _merged(manifests: list[Manifest], name: str, digest: str, rows: int) -> Manifest:
    """One manifest over all writes; their own, without what those had replaced, become its history."""
    last = manifests[-1]
    writes = [write for manifest in manifests for write in (manifest.history or (manifest,))]
    return Manifest(
        file=name,
        sha256=digest,
        content_sha256=last.content_sha256,
        rows=rows,
        recorded_at=last.recorded_at,
        run_id=last.run_id,
        replaces=tuple(manifest.file for manifest in manifests),
        history=tuple(msgspec.structs.replace(write, replaces=(), history=()) for write in writes),
    )


def write_history(folder: UPath) -> list[Manifest]:
    """Every write a folder has seen, oldest first, whether its file was compacted since or not."""
    manifests = [read_manifest(path) for path in live_files(folder)]
    return [write for manifest in manifests if manifest is not None for write in (manifest.history or (manifest,))]


__all__ = ["Compacted", "compact", "compact_folder", "compaction_steps", "version_folders", "write_history"]
