"""How much of a hurry the simulated executor is in, and how much calm it needs to come right after the last fault."""

from __future__ import annotations

from live_executor.live.searches import ABSENCES_FOR_GOOD

_ABSENCE_SECONDS, _STOP_SECONDS = 0.8, 3.0
PACE: dict[str, float | str] = {
    "rebalance_every": "2s", "orders_every_seconds": 1.5, "urgent_every_seconds": 0.5, "books_every_seconds": 2.5,
    "clock_every_seconds": 1.0, "mailbox_every_seconds": 0.15, "targets_every_seconds": 0.5, "absence_seconds": _ABSENCE_SECONDS,
    "stale_price_seconds": 2.0, "entries_wait_seconds": 3.0, "reprice_seconds": 4.0, "session_grace_seconds": 1.5,
    "start_patience_seconds": 2.0, "stop_patience_seconds": _STOP_SECONDS, "heartbeat_every_seconds": 5.0, "orders_in_flight": 4,
    "on_stop": "cancel_entries", "starts_budget": 0,
}  # fmt: skip
"""The executor as ever, in more of a hurry: a run of half a minute has everything a day has."""
PROOF_SECONDS = ABSENCES_FOR_GOOD * _ABSENCE_SECONDS
"""Until what would not be sent again counts as absent."""
CALM_SECONDS = _STOP_SECONDS + PROOF_SECONDS
"""Of the last session, without faults: a process that is being stopped ends, and the next one proves what was never there."""
