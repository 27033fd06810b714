"""The journal in SQLite: WAL, ``synchronous=FULL``, one transaction an append, one writer an account.

An ``append`` that returned is on the disk. A commit that failed is never tried again (after a failed fsync nobody knows
what is on the disk): the object refuses further writes and the process must end. Hash and signature: ``chain.py``.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from hedgefund_core.errors import ConfigError, JournalError
from hedgefund_core.layout import account_folder, journal_file
from hedgefund_core.trading.events import Event, encode, kind_of
from live_executor.journals import external, keys
from live_executor.journals.chain import GENESIS, SignedHead, Verification, chain_hash, head_bytes, microseconds, verify_chain
from live_executor.journals.lock import AccountLock
from live_executor.logging import logger
from live_executor.ports import Head, JournalEntry

_log = logger("journal")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS frames (
    seq INTEGER PRIMARY KEY, ts INTEGER NOT NULL, kind TEXT NOT NULL, payload BLOB NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS heads (
    seq INTEGER NOT NULL, hash BLOB NOT NULL, signed_at INTEGER NOT NULL, key_id TEXT NOT NULL, signature BLOB NOT NULL,
    PRIMARY KEY (seq, key_id)
) STRICT;
CREATE TABLE IF NOT EXISTS snapshots (
    seq INTEGER PRIMARY KEY, key_id TEXT NOT NULL, signature BLOB NOT NULL, payload BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS reserve (space BLOB);
"""
_SNAPSHOT = b"hedgefund-journal-snapshot"
_PAGE_BYTES = 16_384
"""Of a new journal; one of other pages keeps them. A decision on 500 names is committed in a quarter less processor time than with 4096."""
_WAL_BYTES = 8 << 20
_TIDY_BYTES = 1 << 20
"""So much in the write-ahead log is moved on between two steps: at its limit a commit would have to do it, and take ten times its time."""
_FORMAT = 3
"""Of the frames, kept in the file's ``user_version``. 2: the orders of a decision are one frame, verdicts a column a rule (ADR 17).

3: its orders are columns too, and what a rule measured of each is in float64's bytes (ADR 19).
"""
_CHANGED = frozenset({"decision_made", "orders_intended", "orders_denied"})
"""Kinds that an earlier format has otherwise."""
_MEND_FORMAT = "go on with the program that wrote it, or begin another account with --account; `executor audit verify` still checks it"
_MEND_DISK = "free disk space or repair the disk, then start again: what was journaled is safe"
_MEND_BROKEN = "run `executor audit verify`; restore the journal from a backup if it is broken"


class JournalReader:
    """Reads a journal while its writer runs; never writes."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise JournalError(f"there is no journal at {path}", mend="run `executor run` first, or name the account with --account")
        self._path = path
        try:
            self._database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
            being_made = not _tables(self._database)
        except sqlite3.Error as error:
            raise JournalError(f"cannot read {path}: {error}", mend=_MEND_BROKEN) from error
        if being_made:
            raise JournalError(f"there is no journal at {path} yet: its first executor is still making it", mend="ask again in a moment")

    def read(self, after_seq: int = 0, kinds: Sequence[str] = ()) -> Iterator[JournalEntry]:
        """Entries after ``after_seq`` in order; only those of ``kinds`` if any are named."""
        if not kinds or _CHANGED.intersection(kinds):
            _refuse_earlier(self._database, self._path)
        return _entries(self._database, self._path, after_seq, kinds)

    @property
    def head(self) -> Head:
        """The newest entry."""
        return _head(self._database, self._path)

    def signed_heads(self) -> list[SignedHead]:
        """All signed heads, oldest first."""
        try:
            rows = self._database.execute("SELECT seq, hash, signed_at, key_id, signature FROM heads ORDER BY seq").fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"cannot read {self._path}: {error}", mend=_MEND_BROKEN) from error
        return [SignedHead(seq=row[0], hash=row[1], signed_at=row[2], key_id=row[3], signature=row[4]) for row in rows]

    def verify(self, keys_folder: Path, *, account: str = "", whole: bool = True) -> Verification:
        """Walk the chain and check every signed head with the public key of ``keys_folder``.

        ``account`` names a journal that lies elsewhere than in its account's folder; ``whole`` False is for a copy that was taken
        earlier: the head kept outside may have been signed after it. Raises ConfigError where heads are signed and no key is left.
        """
        public = keys.load_public(keys_folder)
        account, walked = account or self._path.parent.name, 0

        def counted() -> Iterator[JournalEntry]:
            nonlocal walked
            for entry in _entries(self._database, self._path, 0, ()):
                yield entry
                walked = entry.seq

        try:
            journal = self.identity()
            outside = external.kept(keys_folder, account, journal)
            if outside is not None and not whole and outside.seq > self.head.seq:
                outside = None
            heads = [*self.signed_heads(), *([] if outside is None else [outside])]
            if heads and public is None:
                message = f"{keys_folder} has neither {keys.PUBLIC_FILE} nor {keys.KEY_FILE}: who signed the heads cannot be told"
                raise ConfigError(message, mend=f"put {keys.PUBLIC_FILE} back from a backup")
            found = verify_chain(counted(), heads, lambda head: keys.is_genuine(public, head))
        except JournalError as error:  # damage below the rows: the entry that cannot be read is the first broken one
            return Verification(ok=False, entries=walked, first_broken=walked + 1, reason=error.message)
        others = external.others(keys_folder, account, journal)
        return replace(found, outside_head=0 if outside is None else outside.seq, other_journals=others)

    def identity(self) -> str:
        """Name of the journal, which the heads kept outside bear; empty before its first entry."""
        first = next(_entries(self._database, self._path, 0, ()), None)
        return "" if first is None else external.identity(first.hash)

    def close(self) -> None:
        """Release the file."""
        self._database.close()


class SqliteJournal:
    """The writing end. Holds the account's lock as long as it lives."""

    def __init__(self, path: Path, key: Ed25519PrivateKey, lock: AccountLock, keys_folder: Path) -> None:
        self._path, self._key, self._lock, self._keys_folder = path, key, lock, keys_folder
        self._failed = ""
        try:
            self._database = _open_durable(path)
        except sqlite3.Error as error:
            damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
            raise JournalError(f"cannot open {path}: {error}", mend=_MEND_BROKEN if damaged else _MEND_DISK) from error
        self._head = _head(self._database, path)
        first = next(_entries(self._database, path, 0, ()), None)
        self._identity = "" if first is None else external.identity(first.hash)
        self._signed = -1
        self._page = int(self._database.execute("PRAGMA page_size").fetchone()[0])
        self._written = 0

    def refuse_missing_end(self) -> None:
        """Raise JournalError where the head kept outside is not in the chain: going on would sign over what shows it."""
        outside = external.kept(self._keys_folder, self._path.parent.name, self._identity) if self._identity else None
        there = None if outside is None else next(self.read(outside.seq - 1), None)
        if outside is not None and (there is None or (there.seq, there.hash) != (outside.seq, outside.hash)):
            raise JournalError(
                f"{self._path} lacks entry {outside.seq}, or has another one: {self._keys_folder / external.FOLDER} has its signed head",
                mend="executor audit verify names the place; put a backup in place: executor restore FILE",
            )

    def append(self, frames: Sequence[Event]) -> Head:
        """Write frames in one durable transaction: all of them or none."""
        if self._failed:
            raise JournalError(f"the journal refused an earlier write and stays closed: {self._failed}", mend=_MEND_DISK)
        rows, previous, seq = [], self._head.hash, self._head.seq
        for frame in frames:
            seq += 1
            ts, kind, payload = microseconds(frame.ts), kind_of(frame), encode(frame)
            previous = chain_hash(previous, seq, ts, kind, payload)
            rows.append((seq, ts, kind, payload, previous))
        self._commit("INSERT INTO frames VALUES (?, ?, ?, ?, ?)", rows)
        if not self._identity and rows:
            self._identity = external.identity(rows[0][4])
        self._head = Head(seq=seq, hash=previous)
        self._written += max(self._page, sum(len(row[3]) for row in rows))  # whole pages are written, however short an entry is
        return self._head

    def tidy(self) -> None:
        """Move what is durable out of the write-ahead log, and begin the log anew; what cannot be moved now stays, as durable as before.

        The first commit into a log that begins anew waits for the disk twice: that is one of a row which nobody reads, and no decision's.
        """
        if self._failed or self._written < _TIDY_BYTES:
            return
        self._written = 0
        try:
            self._database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:
            _log.warning("journal not tidied", reason=str(error))
            return
        self._commit("INSERT OR REPLACE INTO reserve (rowid, space) VALUES (?, NULL)", [(1,)])

    def read(self, after_seq: int = 0) -> Iterator[JournalEntry]:
        """Entries after ``after_seq`` in order."""
        return _entries(self._database, self._path, after_seq, ())

    @property
    def head(self) -> Head:
        """The newest entry."""
        return self._head

    def sign_head(self, signed_at: datetime) -> None:
        """Sign the head; what is signed can be neither cut off nor re-hashed without being noticed."""
        if self._failed or self._head.seq in {0, self._signed}:
            return
        at = microseconds(signed_at)
        signature = self._key.sign(head_bytes(self._head.seq, self._head.hash, at))
        row = (self._head.seq, self._head.hash, at, self._key_id, signature)
        self._commit("INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?, ?)", [row])
        self._signed = self._head.seq
        head = SignedHead(seq=row[0], hash=row[1], signed_at=at, key_id=self._key_id, signature=signature)
        try:
            external.keep(self._keys_folder, self._path.parent.name, self._identity, head)
        except OSError as error:  # the chain and its inner heads stand without it: trading goes on, and it is said
            _log.error("head not kept outside the data folder", reason=str(error), mend=f"make {self._keys_folder} writable")

    def save_snapshot(self, payload: bytes) -> None:
        """Keep a state (``snapshots.pack``) at the present head, signed; older ones go, since only the newest is used."""
        signature = self._key.sign(_SNAPSHOT + payload)
        self._commit("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)", [(self._head.seq, self._key_id, signature, payload)])
        self._commit("DELETE FROM snapshots WHERE seq < ?", [(self._head.seq,)])

    def snapshot(self) -> bytes | None:
        """The newest snapshot that our own key signed; None where there is none."""
        try:
            row = self._database.execute("SELECT signature, payload FROM snapshots ORDER BY seq DESC LIMIT 1").fetchone()
        except sqlite3.Error as error:  # the entries themselves say everything that a snapshot does
            _log.error("snapshot cannot be read", reason=str(error), mend="run `executor audit verify`")
            return None
        if row is None:
            return None
        try:
            self._key.public_key().verify(row[0], _SNAPSHOT + row[1])
        except InvalidSignature:
            _log.error("snapshot refused", reason="our key did not sign it", mend="run `executor audit verify`")
            return None
        return bytes(row[1])

    @property
    def _key_id(self) -> str:
        return keys.key_id(self._key.public_key())

    def close(self) -> None:
        """Release file and lock."""
        self._database.close()
        self._lock.release()

    def _commit(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(statement, rows)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._failed = str(error) or type(error).__name__
            raise JournalError(f"cannot write {self._path}: {error}", mend=_MEND_DISK) from error


def open_journal(data: Path, keys_folder: Path, account: str) -> SqliteJournal:
    """The writing end of an account's journal; raises Halted if another executor holds the account."""
    folder = data / account_folder(account)
    folder.mkdir(parents=True, exist_ok=True)
    lock = AccountLock(folder)
    with contextlib.ExitStack() as undo:
        undo.callback(lock.release)
        journal = SqliteJournal(data / journal_file(account), keys.load_or_create(keys_folder), lock, keys_folder)
        undo.pop_all()  # the journal holds the lock now
        undo.callback(journal.close)
        journal.refuse_missing_end()
        undo.pop_all()
    return journal


def _open_durable(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(f"PRAGMA page_size={_PAGE_BYTES}")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    page = database.execute("PRAGMA page_size").fetchone()[0]
    database.execute(f"PRAGMA wal_autocheckpoint={_WAL_BYTES // page}")
    mode = database.execute("PRAGMA journal_mode").fetchone()[0]
    level = database.execute("PRAGMA synchronous").fetchone()[0]
    if mode != "wal" or level != 2:
        raise JournalError(f"{path}: SQLite gives journal_mode={mode}, synchronous={level}, not wal and FULL", mend="use a local disk")
    database.executescript(_SCHEMA)
    if database.execute("SELECT seq FROM frames LIMIT 1").fetchone() is None:
        database.execute(f"PRAGMA user_version={_FORMAT}")
    _refuse_earlier(database, path)
    # A commit into a WAL file that grows costs 4 ms, into one that is reused 0.2 ms: let it grow once, now.
    database.execute("INSERT INTO reserve VALUES (zeroblob(?))", (_WAL_BYTES,))
    database.execute("DELETE FROM reserve")
    database.execute("PRAGMA wal_checkpoint(RESTART)")
    return database


def _tables(database: sqlite3.Connection) -> bool:
    """Whether the tables are there; waits a little for a process that has made the file a moment ago."""
    for wait in (*[0.05] * 20, 0.0):
        if database.execute("SELECT count(*) FROM sqlite_schema WHERE name IN ('frames', 'heads')").fetchone()[0] == 2:
            return True
        time.sleep(wait)
    return False


def _entries(database: sqlite3.Connection, path: Path, after_seq: int, kinds: Sequence[str]) -> Iterator[JournalEntry]:
    chosen = f" AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
    query = f"SELECT seq, ts, kind, payload, hash FROM frames WHERE seq > ?{chosen} ORDER BY seq"  # noqa: S608 - question marks only
    try:
        for seq, ts, kind, payload, digest in database.execute(query, (after_seq, *kinds)):
            yield JournalEntry(seq=seq, ts=ts, kind=kind, payload=payload, hash=digest)
    except sqlite3.Error as error:
        raise JournalError(f"cannot read {path}: {error}", mend=_MEND_BROKEN) from error


def _refuse_earlier(database: sqlite3.Connection, path: Path) -> None:
    """An earlier program's frames say the same in other words, which this one neither reads nor makes again."""
    try:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version == _FORMAT or database.execute("SELECT seq FROM frames LIMIT 1").fetchone() is None:
            return
    except sqlite3.Error as error:
        raise JournalError(f"cannot read {path}: {error}", mend=_MEND_BROKEN) from error
    raise JournalError(f"{path} is a journal of format {version or 1}, this program reads format {_FORMAT}", mend=_MEND_FORMAT)


def _head(database: sqlite3.Connection, path: Path) -> Head:
    try:
        row = database.execute("SELECT seq, hash FROM frames ORDER BY seq DESC LIMIT 1").fetchone()
    except sqlite3.Error as error:
        raise JournalError(f"cannot read {path}: {error}", mend=_MEND_BROKEN) from error
    return Head(seq=0, hash=GENESIS) if row is None else Head(seq=row[0], hash=row[1])
