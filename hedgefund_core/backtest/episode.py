"""What a mandated backtest carries from session to session: the ladder with its marks, and the history of both."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.backtest.result import Denial, LimitTrace, Records
from hedgefund_core.quant.portfolio.scaling import Scaling
from hedgefund_core.trading.state import Level, Scope

Floats = NDArray[np.float64]

LAST_SCALERS = 2
"""Volatility and beta after the caps close the list: what they leave is the risk that was decided on."""


@dataclass(slots=True, kw_only=True)
class Account:
    """The ladder and the marks that it hangs on."""

    level: Level = Level.ACTIVE
    scope: Scope = Scope.NONE
    since: int = 0
    equity: float
    resume_mark: float
    expected_volatility: float = np.nan
    sessions_flat: int = -1
    stand_ins: int = 0
    started: bool = False

    @property
    def drawdown(self) -> float:
        """Loss from the high-water mark since the last resume."""
        return 1.0 - self.equity / self.resume_mark

    def begin_session(self, t: int) -> None:
        """A session-scoped state of an earlier session expires."""
        if self.scope is Scope.SESSION and self.since < t:
            self.level, self.scope, self.since = Level.ACTIVE, Scope.NONE, t

    def escalate(self, t: int, level: Level, scope: Scope) -> None:
        """Move up, never down; an account's scope outlasts a session's on the same rung."""
        stronger = level == self.level and scope is Scope.ACCOUNT and self.scope is not Scope.ACCOUNT
        if level > self.level or stronger:
            self.level, self.scope, self.since, self.sessions_flat = level, scope, t, -1

    def resume(self, t: int) -> None:
        """The stand-in acts for a person: drawdown is measured anew from here."""
        self.level, self.scope, self.since, self.sessions_flat = Level.ACTIVE, Scope.NONE, t, -1
        self.resume_mark = self.equity
        self.stand_ins += 1


@dataclass(slots=True, kw_only=True)
class History:
    """What the trace keeps."""

    ladder: NDArray[np.int8]
    drawdown: Floats
    volatility: Floats
    decided: NDArray[np.bool_]
    capped: NDArray[np.bool_]
    scales: dict[str, Floats] = field(default_factory=dict)
    measured: dict[str, Floats] = field(default_factory=dict)
    fills: list[Records] = field(default_factory=list)
    orders: list[Records] = field(default_factory=list)
    denied: list[Denial] = field(default_factory=list)

    @classmethod
    def of(cls, n: int) -> History:
        """Nothing happened yet in ``n`` sessions."""
        return cls(
            ladder=np.zeros(n, dtype=np.int8),
            drawdown=np.zeros(n),
            volatility=np.full(n, np.nan),
            decided=np.zeros(n, dtype=np.bool_),
            capped=np.zeros(n, dtype=np.bool_),
        )

    def note(self, t: int, scalings: tuple[Scaling, ...]) -> None:
        """Keep what each scaler said at session ``t``."""
        for scaling in scalings:
            self._keep(self.scales, scaling.name, t, scaling.scale)
            self._keep(self.measured, scaling.name, t, scaling.measured)

    def note_book(self, t: int, weights: Floats, scalings: tuple[Scaling, ...]) -> None:
        """Keep the risk of the book that came out of the scalers."""
        last = scalings[-LAST_SCALERS:]
        left = min(scaling.scale for scaling in last)
        held = np.nan_to_num(weights, nan=0.0)
        book = {"volatility": last[0].measured * left, "beta": last[1].measured * left, "net": float(held.sum())}
        book |= {"gross": float(np.abs(held).sum()), "largest": float(np.abs(held).max())}
        for name, value in book.items():
            self._keep(self.measured, f"{name}_decided", t, value)

    def _keep(self, store: dict[str, Floats], name: str, t: int, value: float) -> None:
        if name not in store:
            store[name] = np.full(len(self.ladder), np.nan)
        store[name][t] = value

    def trace(self, mandate: str, stand_ins: int) -> LimitTrace:
        """The history as the result carries it."""
        return LimitTrace(
            mandate=mandate,
            ladder=self.ladder,
            drawdown=self.drawdown,
            volatility=self.volatility,
            scales=self.scales,
            measured=self.measured,
            decided=self.decided,
            capped=self.capped,
            stand_ins=stand_ins,
        )
