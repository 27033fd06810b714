"""The daily bars of a simulated market as research keeps them: known some time after the close, late, restated, or not to be read.

They are made of what the market said while its session ran, never of the exchange's book; a name that did not trade has no bar.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.trading.observed import FeedUpdate, MarketDay, QuoteSighting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from live_executor.simulation.market import Market

SOURCE = "simulated"
HISTORY = 140
"""Sessions before the first one: a mandate's windows, and some more."""
_DAILY, _VOLUME = 0.012, 1e6
_INGESTED_AFTER = timedelta(seconds=0.3)
_RESTATED = 1.003


class Lake:
    """The panel of the market's names."""

    def __init__(self, market: Market, first: str, seed: int, price_kind: PriceKind) -> None:
        self._market, self.price_kind = market, price_kind
        self._rng = np.random.default_rng(seed)
        self._symbols = tuple(market.mid)
        self._said: dict[str, dict[str, list[float]]] = {}
        """Session -> name -> what it cost there, as it was said."""
        self._versions = 0
        self.held_back, self.unreadable = False, ""
        """Whether nothing new is taken in; why nothing can be read."""
        self._panel = self._history(first)
        market.listeners.append(self._hear)

    # ---- what comes in -----------------------------------------------------------------------------------------------

    def _hear(self, update: FeedUpdate) -> None:
        hours = self._market.hours
        if isinstance(update, QuoteSighting) and hours.is_open:
            symbol = self._market.meant(update.symbol)
            self._said.setdefault(hours.session(), {}).setdefault(symbol, []).append(float(self._market.mid[symbol]))

    def take_in(self) -> None:
        """What has closed since; nothing of it while ingest stands still."""
        now = self._market.hours.now()
        for day in self._market.hours.days:
            if not self.held_back and day.session > self.last_session and day.closes_at + _INGESTED_AFTER <= now:
                self._append(day, now)

    def restate(self, symbol: str) -> None:
        """The vendor corrects the newest bar of a name."""
        column = self._symbols.index(symbol)
        close, high = self._panel.close.copy(), self._panel.field("high").copy()
        close[-1, column] *= _RESTATED
        high[-1, column] = max(high[-1, column], close[-1, column])
        self._write(replace(self._panel, close=close, high=high))

    # ---- what is read ------------------------------------------------------------------------------------------------

    @property
    def last_session(self) -> str:
        """The newest that is there."""
        return str(self._panel.sessions[-1])

    def panel(self) -> Panel:
        """As it is now; raises DataUnavailable or DataInvalid while it is being replaced or damaged."""
        if self.unreadable:
            error = DataUnavailable if self.unreadable == "away" else DataInvalid
            message = f"the panel of {SOURCE} is {self.unreadable}"
            raise error(message, mend="wait: the lake of a simulation heals by itself")
        return self._panel

    def closes(self, session: str) -> dict[str, float]:
        """Closes of a session by name, as they are now; of those that traded."""
        (rows,) = np.nonzero(self._panel.sessions == np.datetime64(session, "D"))
        row = self._panel.close[rows[0]].tolist() if len(rows) else []
        return {symbol: close for symbol, close in zip(self._symbols, row, strict=False) if np.isfinite(close)}

    # ---- the panel ---------------------------------------------------------------------------------------------------

    def _history(self, first: str) -> Panel:
        """Walks that end where the market begins."""
        shape = (HISTORY, len(self._symbols))
        walks = np.cumprod(1.0 + _DAILY * self._rng.standard_normal(shape), axis=0)
        close = np.round(walks / walks[-1] * [float(price) for price in self._market.mid.values()], 2)
        opened = np.round(close * (1.0 + 0.002 * self._rng.standard_normal(shape)), 2)
        sessions = np.busday_offset(np.datetime64(first, "D"), np.arange(-HISTORY, 0))
        closed = np.array([f"{session}T20:00" for session in sessions], dtype="datetime64[us]")
        return self._made(sessions, opened, np.maximum(opened, close), np.minimum(opened, close), close, closed, closed)

    def _append(self, day: MarketDay, now: datetime) -> None:
        said = self._said.get(day.session, {})
        quotes = [said.get(symbol, [float("nan")]) for symbol in self._symbols]
        opened, high, low, close = (
            np.array([[of(bar) for bar in quotes]]) for of in (lambda bar: bar[0], max, min, lambda bar: bar[-1])
        )  # fmt: skip
        sessions = np.array([day.session], dtype="datetime64[D]")
        fresh = self._made(sessions, opened, high, low, close, _moments(day.closes_at), _moments(now))
        ratios = np.array([[float(self._market.split.get((symbol, day.session), 1)) for symbol in self._symbols]])
        if self.price_kind is PriceKind.RAW:
            self._write(self._panel.extend(replace(fresh, split_ratios=ratios)))
        else:
            self._write(_in_new_shares(self._panel, ratios).extend(fresh))

    def _made(
        self, sessions: NDArray[np.datetime64], opened: NDArray[np.float64], high: NDArray[np.float64], low: NDArray[np.float64],
        close: NDArray[np.float64], closed: NDArray[np.datetime64], known: NDArray[np.datetime64],
    ) -> Panel:  # fmt: skip
        volume = np.where(np.isfinite(close), np.round(_VOLUME * (0.5 + self._rng.random(close.shape))), np.nan)
        ratios = np.ones(close.shape) if self.price_kind is PriceKind.RAW else None
        return Panel(
            sessions=sessions, symbols=self._symbols, price_kind=self.price_kind, source=SOURCE, open=opened, high=high, low=low,
            close=close, volume=volume, split_ratios=ratios, close_at=closed, known_at=known,
        )  # fmt: skip

    def _write(self, panel: Panel) -> None:
        self._versions += 1
        self._panel = replace(panel, data_version=f"version {self._versions}")


def _in_new_shares(panel: Panel, ratios: NDArray[np.float64]) -> Panel:
    """Adjusted prices are restated by each split."""
    opened, high, low = (panel.field(name) / ratios for name in ("open", "high", "low"))
    return replace(panel, open=opened, high=high, low=low, close=panel.close / ratios, volume=panel.field("volume") * ratios)


def _moments(at: datetime) -> NDArray[np.datetime64]:
    return np.array([at.astimezone(UTC).replace(tzinfo=None)], dtype="datetime64[us]")
