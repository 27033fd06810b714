"""Messages between the simulated broker's process and its client: one JSON object a line."""

from __future__ import annotations

from datetime import datetime

import msgspec

from hedgefund_core.trading.order import Order
from live_executor.ports import BrokerOrder, MarketMoment


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """Base of requests and replies."""


class Submit(Message, frozen=True, kw_only=True):
    """Send an order."""

    order: Order


class Cancel(Message, frozen=True, kw_only=True):
    """Cancel an order."""

    client_order_id: str


class LookUp(Message, frozen=True, kw_only=True):
    """Ask for an order."""

    client_order_id: str


class AskNews(Message, frozen=True, kw_only=True):
    """Ask for news after a number."""

    after_seq: int


class AskReport(Message, frozen=True, kw_only=True):
    """Ask for cash, positions and open orders."""

    session: str
    ts: datetime


class Advance(Message, frozen=True, kw_only=True):
    """Move the market."""

    session: str
    moment: MarketMoment
    ts: datetime


class Found(Message, frozen=True, kw_only=True):
    """An order, or the proof that there is none."""

    order: BrokerOrder | None


class Frames(Message, frozen=True, kw_only=True):
    """Encoded frames."""

    payloads: tuple[msgspec.Raw, ...]


class Done(Message, frozen=True, kw_only=True):
    """It is done."""


class Refused(Message, frozen=True, kw_only=True):
    """A definite no: ``error`` names the class of it."""

    error: str
    message: str
    mend: str


Request = Submit | Cancel | LookUp | AskNews | AskReport | Advance
Reply = Found | Frames | Done | Refused

_encoder = msgspec.json.Encoder(decimal_format="string")
_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_replies: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)
LINE_LIMIT = 16 << 20


def to_line(message: Message) -> bytes:
    """A message with its line end."""
    return _encoder.encode(message) + b"\n"


def read_request(line: bytes) -> Request:
    """A request; raises ``msgspec.MsgspecError``."""
    return _requests.decode(line)


def read_reply(line: bytes) -> Reply:
    """A reply; raises ``msgspec.MsgspecError``."""
    return _replies.decode(line)
