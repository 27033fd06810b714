"""Every kind of defect, planted into one symbol each: what the live path and the batch must both find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hedgefund_core.quant.panel_build import LongActions
from tests.defect_builders import FIELDS, copies_of

PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Place:
    """Where a defect goes: arrays to spoil, which cells to remove, row and column, a running number."""

    fields: dict
    gone: np.ndarray
    row: int
    column: int
    number: int

    @property
    def cell(self):
        return self.row, self.column

    def scale(self, factor, names=PRICES, rows=1):
        for name in names:
            self.fields[name][self.row : self.row + rows, self.column] *= factor

    def set(self, name, value, rows=1):
        self.fields[name][self.row : self.row + rows, self.column] = value

    def get(self, name, lag=0):
        return self.fields[name][self.row + lag, self.column]

    def carry(self, lag, rows=1):
        for name in FIELDS:
            self.set(name, self.get(name, lag), rows)


def level(place):
    place.scale((0.5, 2.0, 1.45, 100.0)[place.number % 4])


def half_close(place):
    place.scale(0.5, ("close",))


def late_open(place):
    place.scale(1.9, ("open",))


def wide_open(place):  # a feed that widens the high with the bad open
    place.scale(2.1, ("open",))
    place.set("high", max(place.get("high"), place.get("open")))


def zero_price(place):
    place.set(("open", "high", "low")[place.number % 3], 0.0)


def no_open(place):
    place.set("open", np.nan)


def absurd_low(place):
    place.scale(0.2, ("low",))


def absurd_high(place):
    place.scale(5.0, ("high",))


def inverted(place):
    high, low = place.get("high"), place.get("low")
    place.set("high", low * 0.99)
    place.set("low", high * 1.01)


def no_volume(place):
    place.set("volume", 0.0)


def thin(place):
    place.set("volume", np.ceil(0.01 * place.get("volume")))


def lots(place):
    place.scale(1000.0, ("volume",))


def later_bar(place):
    lag = 1 + place.number % 9
    place.carry(lag)
    return [place.row + lag]


def stale_repeat(place):
    place.carry(-1)


def standing_feed(place):
    place.carry(-1, rows=3)
    return [place.row + 2]


def equal_closes(place):
    close, span = place.get("close"), slice(place.row, place.row + 12)
    place.set("close", close, rows=12)
    fields, column = place.fields, place.column
    fields["high"][span, column] = np.maximum(close, fields["high"][span, column])
    fields["low"][span, column] = np.minimum(close, fields["low"][span, column])
    return list(range(place.row, place.row + 13))


def distribution(place):
    place.scale(0.75, rows=len(place.gone))
    place.set("open", 0.75 * place.get("close", -1))


def missing_session(place):
    place.gone[place.cell] = True


def no_close(place):
    place.set("close", np.nan)


def negative_volume(place):
    place.scale(-1.0, ("volume",))


def close_out_of_range(place):
    place.set("close", 1.01 * place.get("high"))


def other_company(place):
    place.gone[: place.row, place.column] = True
    place.scale(2.6, rows=2)  # no split has this ratio
    return [place.row + 2]


def when_issued(place):
    place.gone[: place.row, place.column] = True
    place.set("volume", 300.0, rows=3)
    return [place.row + 2]


def untouched(place):
    """What spoils it is said elsewhere: a stated split, or a further row."""


MORE = {
    "equal duplicate": lambda sessions, row: (sessions[row], 1.0),
    "contradicting duplicate": lambda sessions, row: (sessions[row], 1.01),
    "no session": lambda sessions, row: (np.busday_offset(sessions[row], 0, roll="forward", weekmask="Sat").astype("datetime64[D]"), 1.0),
    "future": lambda sessions, _row: (sessions[-1] + 7, 1.0),
}
"""Kinds that are a row too many: its day, and its prices as a multiple."""
STATED_SPLIT = "split not in price"
KINDS = {
    **{kind.__name__: kind for kind in (level, half_close, late_open, wide_open, zero_price, no_open, absurd_low, absurd_high, inverted)},
    **{kind.__name__: kind for kind in (no_volume, thin, lots, later_bar, stale_repeat, standing_feed, equal_closes, distribution)},
    **{kind.__name__: kind for kind in (missing_session, no_close, negative_volume, close_out_of_range, other_company, when_issued)},
    **dict.fromkeys([STATED_SPLIT, *MORE], untouched),
}


@dataclass(frozen=True)
class Planted:
    """Rows by session as a feed brings them; actions; the first spoilt day; today; (kind, {(symbol, session), ...}) planted."""

    rows: dict
    actions: LongActions
    first: np.datetime64
    today: np.datetime64
    defects: list


def planted_everywhere(panel, *, first, count=200, seed=3):
    """``count`` defects of all kinds from row ``first`` on, each in a symbol of its own."""
    rng = np.random.default_rng(seed)
    fields, sessions = copies_of(panel), panel.sessions
    gone = np.zeros(panel.shape, dtype=bool)
    extra, splits, defects = [], [], []
    for number, column in enumerate(rng.permutation(panel.shape[1])[:count]):
        kind, symbol = list(KINDS)[number % len(KINDS)], panel.symbols[column]
        place = Place(fields, gone, int(rng.integers(first + 15, panel.shape[0] - 40)), int(column), number)
        named = {place.row - 1, place.row, place.row + 1, *(KINDS[kind](place) or ())}
        where = {(symbol, sessions[row]) for row in named}
        if kind == STATED_SPLIT:
            splits.append((symbol, sessions[place.row], "split", 2.0))
        if kind in MORE:
            day, factor = MORE[kind](sessions, place.row)
            extra.append((symbol, day, {name: factor * place.get(name) for name in FIELDS}))
            where = {(symbol, day)}
        defects.append((kind, where))
    actions = LongActions(
        **{name: np.array(values) for name, values in zip(("symbol", "session", "kind", "value"), zip(*splits, strict=True), strict=True)}
    )
    return Planted(_long_rows(panel, fields, gone, extra), actions, sessions[first], sessions[-1], defects)


def _long_rows(panel, fields, gone, extra):
    """Columns of all rows in the order of their sessions, further rows last."""
    place = np.argwhere(~gone)
    rows = {
        "symbol": np.concatenate([np.array(panel.symbols)[place[:, 1]], np.array([symbol for symbol, _, _ in extra])]),
        "session": np.concatenate([panel.sessions[place[:, 0]], np.array([day for _, day, _ in extra], dtype="datetime64[D]")]),
    }
    for name in FIELDS:
        rows[name] = np.concatenate([fields[name][place[:, 0], place[:, 1]], np.array([values[name] for _, _, values in extra])])
    order = np.argsort(rows["session"], kind="stable")
    return {**{name: values[order] for name, values in rows.items()}, "source_row": np.arange(1, len(order) + 1)}
