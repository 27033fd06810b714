"""Daily returns of the last sessions with what is measured of them: each once, however many ask."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.portfolio.scaling import betas, daily_sigmas

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ReturnHistory:
    """Daily returns, the newest last.

    Attributes
    ----------
    returns : float64 (T, n), simple returns from session to session, adjusted for splits.
    market : float64 (T,), return of the benchmark, or of the equal-weight market where there is none.
    """

    returns: Floats
    market: Floats
    _measured: dict[tuple[str, int], NDArray[Any]] = field(default_factory=dict, init=False, repr=False)

    def betas(self, sessions: int) -> Floats:
        """`scaling.betas` over the last ``sessions``: (n,)."""
        return self._once("betas", sessions, lambda: betas(self.returns[-sessions:], self.market[-sessions:]))

    def sigmas(self, sessions: int) -> Floats:
        """`scaling.daily_sigmas` over the last ``sessions``: (n,)."""
        return self._once("sigmas", sessions, lambda: daily_sigmas(self.returns[-sessions:]))

    @property
    def digests(self) -> NDArray[np.uint8]:
        """`row_digests` of the returns: uint8 (T, 32)."""
        return self._once("digests", 0, lambda: row_digests(self.returns))

    def with_digests(self, rows: NDArray[np.uint8]) -> ReturnHistory:
        """Itself, with the digests that somebody has kept of each row."""
        self._measured["digests", 0] = rows
        return self

    def _once(self, name: str, sessions: int, measure: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        key = (name, sessions)
        if key not in self._measured:
            self._measured[key] = measure()
        return self._measured[key]


def row_digests(rows: Floats) -> NDArray[np.uint8]:
    """sha256 of each row: uint8 (n, 32). What a decision knew is hashed by rows, so that only the newest is hashed at each session."""
    if not len(rows):
        return np.zeros((0, hashlib.sha256().digest_size), dtype=np.uint8)
    hashes = b"".join([hashlib.sha256(row.data).digest() for row in np.ascontiguousarray(rows)])
    return np.frombuffer(hashes, dtype=np.uint8).reshape(len(rows), hashlib.sha256().digest_size)
