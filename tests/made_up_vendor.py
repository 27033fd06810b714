"""A Tiingo on this machine with made-up prices of any days that are asked for: sessions of the exchange, one split, one dividend a year.

`python -m tests.made_up_vendor` says its address and serves until Ctrl-C, for whoever wants to see a vendor's pages without a key.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping, Sequence

import numpy as np

from hedgefund_dagster.sources.calendars import exchange_closes
from tests.contract.vendors.loopback import Exchange, Loopback

FIRST, LAST = np.datetime64("2019-01-01"), np.datetime64("2026-12-31")
SPLIT_DAY, SPLIT_RATIO, DIVIDEND = np.datetime64("2020-08-31"), 4.0, 0.5


class MadeUpTiingo(Loopback):
    """Each name's walk is seeded by its letters, so that two servers tell the same story. ``gone`` names have no rows from that day on."""

    def __init__(self, *, gone: Mapping[str, str] | None = None) -> None:
        self.sessions, _ = exchange_closes("XNYS", FIRST, LAST)
        self.gone = dict(gone or {})
        super().__init__()

    def find(self, path: str, query: Mapping[str, str]) -> Exchange | None:
        parts = path.strip("/").split("/")
        if len(parts) != 4 or parts[:2] != ["tiingo", "daily"]:
            return None
        days = self.rows(parts[2], query["startDate"], query["endDate"])
        headers = {"Content-Type": "application/json"}
        return Exchange(page="", path=path, query={}, headers=headers, body=json.dumps(days).encode())

    def rows(self, symbol: str, since: str, until: str) -> list[dict[str, object]]:
        """Raw prices: the first name of the alphabet splits 4:1, every name pays at the first session of July."""
        rng = np.random.default_rng([ord(letter) for letter in symbol])
        count = len(self.sessions)
        close = 80.0 * np.exp(np.cumsum(rng.normal(0.0002, 0.012, count)))
        splits = np.where((self.sessions == SPLIT_DAY) & symbol.startswith("A"), SPLIT_RATIO, 1.0)
        close = close / np.cumprod(splits)
        opened = close * (1 + 0.003 * rng.standard_normal(count))
        high, low = np.maximum(opened, close) * 1.004, np.minimum(opened, close) * 0.996
        volume = np.round(2e6 * np.exp(0.3 * rng.standard_normal(count))) * np.cumprod(splits)
        months = self.sessions.astype("datetime64[M]")
        pays = (np.diff(months, prepend=months[0]).astype(int) > 0) & (months.astype(int) % 12 == 6)
        end = min(np.datetime64(until), np.datetime64(self.gone.get(symbol, until)))
        wanted = np.flatnonzero((self.sessions >= np.datetime64(since)) & (self.sessions <= end))
        return [
            {
                "date": f"{self.sessions[i]}T00:00:00.000Z",
                "volume": int(volume[i]),
                "adjVolume": int(volume[i]),
                **{name: round(float(v[i]), 2) for name, v in (("open", opened), ("high", high), ("low", low), ("close", close))},
                **{f"adj{name}": round(float(close[i]), 2) for name in ("Close", "High", "Low", "Open")},
                "divCash": DIVIDEND if pays[i] else 0.0,
                "splitFactor": float(splits[i]),
            }
            for i in wanted
        ]


def main(arguments: Sequence[str]) -> None:
    """Serve until Ctrl-C."""
    server = MadeUpTiingo()
    sys.stderr.write(f"{server.url}\n")
    try:
        threading.Event().wait(float(arguments[0]) if arguments else None)
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
