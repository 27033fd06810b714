"""The simulated broker's own durable book: one SQLite file, one transaction per call.

It never reads the executor's journal, because then a reconciliation could not fail. The state of the account is one row of canonical
JSON; every order ever received and every piece of news are kept in tables of their own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import cast

import msgspec

from hedgefund_core.backtest.exchange import Book
from hedgefund_core.errors import BrokerUnavailable
from hedgefund_core.trading.events import BrokerNews, decode, encode
from hedgefund_core.trading.order import Order

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS orders (
    client_order_id TEXT PRIMARY KEY, number INTEGER NOT NULL, status TEXT NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS events (broker_seq INTEGER PRIMARY KEY, payload BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS reserve (space BLOB);
"""
_WAL_BYTES = 4 << 20
_MEND = "check the disk, then start again: the book keeps what it had"
_encoder = msgspec.json.Encoder(decimal_format="string")
_books: msgspec.json.Decoder[Book] = msgspec.json.Decoder(Book)
_orders: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)


class DurableBook:
    """Loads and stores a `Book` with its orders and news; `transaction` makes several calls one."""

    def __init__(self, path: Path, initial_cash: Decimal) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = _open(path)
            with self.transaction():
                fresh = _encoder.encode(Book(cash=initial_cash)).decode()
                self._database.execute("INSERT OR IGNORE INTO facts VALUES ('book', ?), ('now', '')", (fresh,))
        except sqlite3.Error as error:
            raise BrokerUnavailable(f"cannot open the broker's book {path}: {error}", mend=_MEND) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside are durable together, or none happened; the book is the caller's alone meanwhile."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise BrokerUnavailable(f"the broker's book cannot be written: {error}", mend=_MEND) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    def load(self) -> Book:
        """The account as it stands."""
        return _books.decode(self._fact("book"))

    def store(self, before: Book, after: Book, news: Iterable[BrokerNews]) -> None:
        """Replace the account, keep the orders that changed, publish the news."""
        self._set_fact("book", _encoder.encode(after).decode())
        for key, order in after.orders.items():
            if before.orders.get(key) != order:
                self._database.execute(
                    "INSERT INTO orders VALUES (?, (SELECT count(*) + 1 FROM orders), ?, ?) "
                    "ON CONFLICT (client_order_id) DO UPDATE SET status = excluded.status, body = excluded.body",
                    (key, order.status.value, _encoder.encode(order)),
                )
        self._database.executemany("INSERT INTO events VALUES (?, ?)", [(item.broker_seq, encode(item)) for item in news])

    def order(self, client_order_id: str) -> Order | None:
        """An order by its client id, however old."""
        row = self._database.execute("SELECT body FROM orders WHERE client_order_id = ?", (client_order_id,)).fetchone()
        return None if row is None else _orders.decode(row[0])

    def orders(self) -> list[Order]:
        """Every order that ever came, in order of arrival."""
        return [_orders.decode(row[0]) for row in self._database.execute("SELECT body FROM orders ORDER BY number")]

    def news(self, after_seq: int) -> list[BrokerNews]:
        """News after a number, oldest first."""
        rows = self._database.execute("SELECT payload FROM events WHERE broker_seq > ? ORDER BY broker_seq", (after_seq,))
        return [cast("BrokerNews", decode(row[0])) for row in rows]

    def tell_time(self, at_least: datetime) -> datetime:
        """The exchange's time: the latest it was told; it never runs backwards."""
        known = self._fact("now")
        now = max(datetime.fromisoformat(known), at_least) if known else at_least
        self._set_fact("now", now.isoformat())
        return now

    @property
    def now(self) -> datetime | None:
        """The exchange's time; None before anything happened."""
        known = self._fact("now")
        return datetime.fromisoformat(known) if known else None

    def close(self) -> None:
        """Release the file."""
        self._database.close()

    def _fact(self, name: str) -> str:
        return str(self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0])

    def _set_fact(self, name: str, value: str) -> None:
        self._database.execute("UPDATE facts SET value = ? WHERE name = ?", (value, name))


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.executescript(_SCHEMA)
    # Grow the WAL file once, now, so that later commits reuse its room.
    database.execute("INSERT INTO reserve VALUES (zeroblob(?))", (_WAL_BYTES,))
    database.execute("DELETE FROM reserve")
    database.execute("PRAGMA wal_checkpoint(RESTART)")
    return database
