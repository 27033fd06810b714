"""The executor's journal, read only: the shells share the contract of the frames, not the code that writes them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import msgspec

from hedgefund_core import layout
from hedgefund_core.errors import DataUnavailable, JournalError
from hedgefund_core.trading.events import Frame, decode
from hedgefund_dagster.settings import data_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFrame:
    """A frame with its place in the chain."""

    seq: int
    frame: Frame


class JournalReader:
    """Journals of the accounts under a data folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def accounts(self) -> list[str]:
        """Accounts that have a journal."""
        return sorted(path.parent.name for path in (self._root / layout.LIVE).glob("*/journal.sqlite"))

    def latest_account(self) -> str:
        """The account last used; raises DataUnavailable where none ever traded."""
        marker = self._root / layout.LAST_ACCOUNT
        name = marker.read_text().strip() if marker.exists() else ""
        if name in self.accounts():
            return name
        message = "no account has a journal yet"
        raise DataUnavailable(message, mend="run `make demo`, or `executor run`")

    def frames(self, account: str, after: int = 0) -> Iterator[StoredFrame]:
        """Frames with a greater number than ``after``, in order; the chain itself is proved by `executor audit verify`."""
        path = self._root / layout.journal_file(account)
        if not path.exists():
            message = f"account {account} has no journal"
            raise DataUnavailable(message, mend="name an account that has traded; `executor status --account` shows one")
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            for seq, payload in connection.execute("SELECT seq, payload FROM frames WHERE seq > ? ORDER BY seq", (after,)):
                yield StoredFrame(seq=int(seq), frame=decode(bytes(payload)))
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            message = f"journal of {account} cannot be read: {error}"
            raise JournalError(message, mend=f"executor audit verify --account {account}") from error
        finally:
            connection.close()

    def last_seq(self, account: str) -> int:
        """Number of the last frame."""
        path = self._root / layout.journal_file(account)
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            row = connection.execute("SELECT MAX(seq) FROM frames").fetchone()
        except sqlite3.Error as error:
            message = f"journal of {account} cannot be read: {error}"
            raise JournalError(message, mend=f"executor audit verify --account {account}") from error
        finally:
            connection.close()
        return int(row[0] or 0)


class JournalReaderResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The journals as a Dagster resource; an empty folder means the environment's."""

    data_dir: str = ""

    def open(self) -> JournalReader:
        """The reader itself."""
        return JournalReader(Path(self.data_dir) if self.data_dir else data_folder(os.environ))
