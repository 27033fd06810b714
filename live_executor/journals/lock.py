"""One executor an account: a file lock, and the holder's process id beside it for the message."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from filelock import FileLock, Timeout

from hedgefund_core.errors import Halted

LOCK_FILE = "executor.lock"
PID_FILE = "executor.pid"
_PATIENCE_SECONDS = 0.3
"""Longer than a `holder_of` probe holds the lock."""


class AccountLock:
    """Held from construction to `release`, or until the process dies however it dies."""

    def __init__(self, folder: Path) -> None:
        self._pid_file = folder / PID_FILE
        self._lock = FileLock(folder / LOCK_FILE, is_singleton=False)
        try:
            self._lock.acquire(timeout=_PATIENCE_SECONDS, poll_interval=0.02)
        except Timeout as error:
            holder = self._pid_file.read_text().strip() if self._pid_file.exists() else "unknown"
            raise Halted(
                f"another executor (process {holder}) holds account {folder.name}",
                mend=f"stop process {holder} first, or trade another account with --account",
            ) from error
        self._pid_file.write_text(f"{os.getpid()}\n")

    def release(self) -> None:
        """Let another executor have the account."""
        self._lock.release()


def holder_of(folder: Path) -> int | None:
    """Process id of the executor that holds the account now; None where nobody does."""
    if not (folder / LOCK_FILE).exists():
        return None
    probe = FileLock(folder / LOCK_FILE, is_singleton=False)
    try:
        probe.acquire(timeout=0)
    except Timeout:
        text = (folder / PID_FILE).read_text().strip() if (folder / PID_FILE).exists() else ""
        return int(text) if text.isdigit() else None
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return None  # a disk that nobody can write to: nobody trades on it
    probe.release()
    return None
