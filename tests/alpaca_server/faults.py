"""Faults that a test arms: what goes wrong, where, how often."""

from __future__ import annotations

import dataclasses

REST = frozenset({"timeout", "reset", "status", "html", "empty", "truncated", "slow"})
STREAM = frozenset(
    {
        "mute",  # nothing more is sent for ``seconds``; what would have been sent is lost
        "freeze",  # the peer is dead: not even a ping is answered from here on
        "drop",  # the connection ends before the message
        "drop_mid_frame",  # half a frame, then the end
        "dup",
        "reorder",  # comes after the next one
        "lost",
        "delay",  # comes after ``seconds``
        "unknown_event",
        "unknown_status",
        "garbled",  # no JSON at all
        "odd_shape",  # JSON, and nothing we know
        "bad_element",  # one element of the frame is nonsense (data stream)
    }
)
CONNECT = frozenset({"no_auth_answer", "unauthorized", "http", "error", "no_listen_answer"})
ORDER = frozenset(
    {
        "cancel_stays_open",  # 204, and nothing happens
        "cancel_pending",  # 204, pending_cancel, and nothing more
        "fill_on_cancel",  # 204, and the order is filled instead
        "fill_after_cancel",  # canceled, then a fill of ``qty``
        "reject_after_accept",
        "no_ack",  # pending_new, and silence
        "stuck",  # accepted, never filled by itself
        "overfill",  # ``qty`` more than was ordered
    }
)


@dataclasses.dataclass(kw_only=True)
class Fault:
    """One armed fault."""

    kind: str
    target: str = "rest"
    """rest, trade, data or order"""
    route: str = ""
    """REST: method and beginning of the path, like ``POST /v2/orders``; empty: every trading request"""
    when: str = "before"
    """REST: before or after the request is carried out"""
    times: int = 1
    skip: int = 0
    """Let so many pass first."""
    status: int = 500
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: str = ""
    seconds: float = 30.0
    symbol: str = ""
    qty: str = "1"


class Faults:
    """What is armed now."""

    def __init__(self) -> None:
        self.armed: list[Fault] = []
        self.taken: dict[str, int] = {}

    def arm(self, fault: Fault) -> None:
        """Add one; an unknown kind is a mistake of the test."""
        known = {"rest": REST, "trade": STREAM | CONNECT, "data": STREAM | CONNECT, "order": ORDER}[fault.target]
        if fault.kind not in known:
            raise ValueError(f"{fault.target} has no fault {fault.kind!r}: {sorted(known)}")
        self.armed.append(fault)

    def take(self, target: str, kinds: frozenset[str], *, route: str = "", symbol: str = "", when: str = "") -> Fault | None:
        """The first armed fault that fits, used up once."""
        for fault in self.armed:
            fits = fault.target == target and fault.kind in kinds and route.startswith(fault.route)
            if not fits or (fault.symbol and fault.symbol != symbol) or (when and fault.when != when):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            if fault.times <= 0:
                self.armed.remove(fault)
            self.taken[fault.kind] = self.taken.get(fault.kind, 0) + 1
            return fault
        return None
