"""Backup and restore of an account: one file with everything that a restart needs, and its digests.

A backup may be taken while the executor runs: SQLite's own backup gives the journal and the simulated broker's book as they are
between two commits, and the book of the simulated broker on the wall clock is always replaced as a whole. A restore checks every
digest and walks the chain before anything is put in place, and never overwrites: what was there is moved aside.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import msgspec

from hedgefund_core.errors import ConfigError, DataInvalid, Halted, JournalError
from hedgefund_core.identifiers import is_account
from hedgefund_core.layout import LIVE, account_folder, broker_book_file, journal_file
from live_executor.brokers.simulated_live import FILE as EXCHANGE
from live_executor.journals import external
from live_executor.journals.chain import Verification
from live_executor.journals.emergency import FILE as EMERGENCY
from live_executor.journals.lock import holder_of
from live_executor.journals.sqlite import JournalReader
from live_executor.ports import UNREADABLE
from live_executor.settings import Settings

MANIFEST = "backup.json"
_SCHEMA = 1
_MOST_BYTES = 64 << 30


class BackupManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a backup and where its journal ended."""

    schema: int
    account: str
    created_at: datetime
    seq: int
    head: str
    files: dict[str, str]
    """Name -> sha256."""


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore did."""

    account: str
    entries: int
    head: str
    moved_aside: str
    """Folder with what was there before; empty where nothing was."""


def backup(settings: Settings, account: str, target: Path, *, at: datetime) -> BackupManifest:
    """Write a backup of an account to ``target``, atomically.

    Raises
    ------
    JournalError : there is no journal, or its chain is broken: a backup of a broken journal would only replace a good one.
    """
    folder = settings.data / account_folder(account)
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    scratch.mkdir(parents=True)
    try:
        _copy_database(settings.data / journal_file(account), scratch / "journal.sqlite")
        found = _verified(scratch / "journal.sqlite", settings.keys, account)
        if (settings.data / broker_book_file(account)).exists():
            (scratch / "broker").mkdir()
            _copy_database(settings.data / broker_book_file(account), scratch / "broker" / "book.sqlite")
        for name in (EMERGENCY, EXCHANGE):
            if (folder / name).exists():
                shutil.copyfile(folder / name, scratch / name)
        if (folder / "bundles").is_dir():
            shutil.copytree(folder / "bundles", scratch / "bundles")
        head = _head_of(scratch / "journal.sqlite")
        files = {str(path.relative_to(scratch)): _sha256(path) for path in _files(scratch)}
        manifest = BackupManifest(schema=_SCHEMA, account=account, created_at=at, seq=found.entries, head=head, files=files)
        (scratch / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
        content = [scratch / MANIFEST, *(path for path in _files(scratch) if path.name != MANIFEST)]
        packed = scratch / "packed"  # goes away with the rest where the disk is full
        with tarfile.open(packed, "w:gz") as archive:
            for path in content:
                archive.add(path, arcname=str(path.relative_to(scratch)), recursive=False)
        with packed.open("rb") as file:
            os.fsync(file.fileno())
        packed.replace(target)
        return manifest
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def restore(settings: Settings, source: Path, account: str = "", *, at: datetime) -> Restored:
    """Put a backup in place as its own account, or as ``account``; what was there is moved aside, never deleted.

    Raises
    ------
    DataInvalid : the file is no backup, or a digest differs. JournalError : its chain is broken.
    Halted : an executor holds the account. ConfigError : the account has no such name.
    """
    if not source.is_file():
        raise DataInvalid(f"{source} is no file", mend="name the file that `executor backup` wrote")
    scratch = settings.data / LIVE / f".restore-{os.getpid()}"
    scratch.mkdir(parents=True)
    try:
        manifest = _unpack(source, scratch)
        name = account or manifest.account
        if not is_account(name):
            raise ConfigError(f"{name!r} is no account name", mend="give one with --account")
        found = _verified(scratch / "journal.sqlite", settings.keys, name)
        folder = settings.data / account_folder(name)
        holder = holder_of(folder)
        if holder is not None:
            raise Halted(f"executor {holder} holds account {name}", mend=f"stop process {holder} first, then restore")
        aside = folder.with_name(f"{name}.before-{at:%Y%m%dT%H%M%S}") if folder.exists() else None
        if aside is not None:
            folder.rename(aside)
        scratch.rename(folder)
        with closing(JournalReader(folder / "journal.sqlite")) as reader:
            heads = reader.signed_heads()
            external.put_back(settings.keys, name, reader.identity(), heads[-1] if heads else None, aside)
        return Restored(account=name, entries=found.entries, head=manifest.head, moved_aside="" if aside is None else str(aside))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpack(source: Path, scratch: Path) -> BackupManifest:
    """Files of a backup, each checked against its digest; names cannot lead out of ``scratch``."""
    mend = "use another backup: this one is damaged"
    try:
        with tarfile.open(source, "r:gz") as archive:
            members = archive.getmembers()
            if sum(member.size for member in members) > _MOST_BYTES or not all(member.isfile() for member in members):
                raise DataInvalid(f"{source} holds more than the files of an account", mend=mend)
            archive.extractall(scratch, filter="data")
        manifest = msgspec.json.decode((scratch / MANIFEST).read_bytes(), type=BackupManifest)
    except (tarfile.TarError, OSError, EOFError, *UNREADABLE) as error:
        raise DataInvalid(f"{source} is no backup of an account: {error}", mend=mend) from error
    there = {str(path.relative_to(scratch)): _sha256(path) for path in _files(scratch) if path.name != MANIFEST}
    differing = sorted(set(there.items()) ^ set(manifest.files.items()))
    if differing or manifest.schema != _SCHEMA:
        what = f"file {differing[0][0]} is not the one that was backed up" if differing else f"schema {manifest.schema} is not {_SCHEMA}"
        raise DataInvalid(f"{source}: {what}", mend=mend)
    (scratch / MANIFEST).unlink()
    return manifest


def _verified(path: Path, keys: Path, account: str) -> Verification:
    """The chain of a journal that lies outside its account's folder; a head signed later than the copy does not count against it."""
    with closing(JournalReader(path)) as reader:
        found = reader.verify(keys, account=account, whole=False)
    if not found.ok:
        raise JournalError(f"the journal is broken at entry {found.first_broken}: {found.reason}", mend="use another backup")
    return found


def _head_of(path: Path) -> str:
    with closing(JournalReader(path)) as reader:
        return reader.head.hash.hex()


def _copy_database(source: Path, target: Path) -> None:
    if not source.exists():
        raise JournalError(f"there is no journal at {source}", mend="name the account with --account")
    try:
        with (
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as reading,
            closing(sqlite3.connect(target)) as writing,
        ):
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise JournalError(f"cannot copy {source}: {error}", mend="run `executor audit verify`; free disk space") from error


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
