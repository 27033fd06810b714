"""What Alpaca's data stream says (``/v2/iex``, ``/v2/sip``): frames of many messages, in JSON or MessagePack.

A frame is read at one go into typed rows; where that fails, message by message, so that a bad one never takes the others with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast

import msgspec

from hedgefund_core.trading.observed import BandSighting, BarSighting, HaltSighting, QuoteSighting, UnknownUpdate
from live_executor.ports import UNREADABLE, Clock
from live_executor.streams import Link, StreamEndedError, StreamRefusedError, unreadable

Said = QuoteSighting | BarSighting | HaltSighting | BandSighting | UnknownUpdate
CHANNELS = ("bars", "quotes", "trades", "statuses", "lulds")
"""A message of subscription each: a plan that allows few quotes, or a server that knows no statuses, still gives all bars."""
_MINUTE = timedelta(minutes=1)
ANSWER_SECONDS = 3.0
_REFUSED = frozenset({401, 402, 406, 409})
_NO_PLAN = 409
_ENDED = frozenset({404, 407, 500})
_HALTS, _RESUMPTIONS = frozenset({"2", "H", "P"}), frozenset({"3", "T"})
_NO_HALT = frozenset({"5", "6", "7", "8", "9", "A", "C", "D", "E", "F", "Q"})
"""Indications, imbalances, price bands, quoting before trading: they neither halt nor resume."""


class _Bar(msgspec.Struct, tag_field="T", tag="b", gc=False):
    S: str
    t: datetime
    o: float
    h: float
    l: float  # noqa: E741  the vendor's letter
    c: float
    v: float


class _Quote(msgspec.Struct, tag_field="T", tag="q", gc=False):
    S: str
    t: datetime
    bp: Decimal | None = None
    ap: Decimal | None = None


class _Trade(msgspec.Struct, tag_field="T", tag="t", gc=False):
    S: str
    t: datetime
    p: Decimal


class _Status(msgspec.Struct, tag_field="T", tag="s", gc=False):
    S: str
    t: datetime
    sc: str = ""
    sm: str = ""
    rc: str = ""
    rm: str = ""


class _Success(msgspec.Struct, tag_field="T", tag="success"):
    msg: str = ""


class _Error(msgspec.Struct, tag_field="T", tag="error"):
    code: int = 0
    msg: str = ""


class _Subscription(msgspec.Struct, tag_field="T", tag="subscription"):
    pass


class _Band(msgspec.Struct, tag_field="T", tag="l", gc=False):
    S: str
    t: datetime
    u: Decimal | None = None
    d: Decimal | None = None


class _Correction(msgspec.Struct, tag_field="T", tag="c"):
    pass


class _CancelError(msgspec.Struct, tag_field="T", tag="x"):
    pass


class _UpdatedBar(msgspec.Struct, tag_field="T", tag="u"):
    pass


class _DailyBar(msgspec.Struct, tag_field="T", tag="d"):
    pass


_Row = (
    _Bar | _Quote | _Trade | _Status | _Success | _Error | _Subscription
    | _Band | _Correction | _CancelError | _UpdatedBar | _DailyBar
)  # fmt: skip


class _Codec:
    """One of the two encodings."""

    def __init__(self, *, json: bool) -> None:
        self.json = json
        module = msgspec.json if json else msgspec.msgpack
        self.rows = module.Decoder(list[_Row]).decode
        self.raw_rows = module.Decoder(list[msgspec.Raw]).decode
        self.row = module.Decoder(_Row, strict=False).decode
        self._encode = msgspec.json.encode if json else msgspec.msgpack.encode

    def message(self, body: dict[str, object]) -> bytes | str:
        """What is sent: text for JSON."""
        raw = self._encode(body)
        return raw.decode() if self.json else raw


_JSON, _MSGPACK = _Codec(json=True), _Codec(json=False)


def _codec_of(frame: bytes) -> _Codec:
    return _JSON if frame[:1] in b'[{ \r\n\t"' else _MSGPACK


class DataConversation:
    """Authenticate, subscribe, read."""

    def __init__(
        self, api_key: str, secret_key: str, symbols: Collection[str], clock: Clock, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._answer_seconds = answer_seconds
        self._keys = {"key": api_key, "secret": secret_key}
        self._symbols, self._clock = symbols, clock
        self._codec, self._listening = _JSON, False
        self._trouble: StreamRefusedError | StreamEndedError | None = None
        self._answer: _Success | _Subscription | None = None

    async def greet(self, link: Link) -> Sequence[Said]:
        """The server speaks first, and in the encoding that it will use."""
        self._trouble, self._listening, self._codec = None, False, _codec_of(hello := await link.receive())
        said = list(self.read(hello))
        await link.send(self._codec.message({"action": "auth", **self._keys}))
        await self._until(link, _Success, "authenticated", said)
        asked = set[str]()
        while fresh := sorted(set(self._symbols) - asked):  # more of them may be asked for while the server answers
            asked.update(fresh)
            for message in self.subscriptions(fresh):
                await link.send(message)
            with contextlib.suppress(TimeoutError):  # some servers send prices and no answer
                async with asyncio.timeout(self._answer_seconds):
                    await self._until(link, _Subscription, "", said)
        return said

    def subscriptions(self, symbols: Sequence[str]) -> list[bytes | str]:
        """The messages that subscribe to these symbols."""
        return [self._codec.message({"action": "subscribe", channel: list(symbols)}) for channel in CHANNELS]

    async def _until(self, link: Link, kind: type[_Success | _Subscription], words: str, said: list[Said]) -> None:
        while True:
            self._answer = None
            said += self.read(await link.receive())
            answer = self._answer
            if isinstance(answer, kind) and (not words or getattr(answer, "msg", "") == words):
                return

    def read(self, frame: bytes) -> Sequence[Said]:
        """All that a frame tells."""
        if self._trouble is not None:
            raise self._trouble
        codec, now = _codec_of(frame), self._clock.now()
        try:
            rows = codec.rows(frame)
            said = _bars(cast("list[_Bar]", rows)) if set(map(type, rows)) == {_Bar} else self._mixed(rows, now)
        except (*UNREADABLE, ValueError, ArithmeticError):
            said = self._one_by_one(codec, frame, now)
        if self._trouble is not None and not said:
            raise self._trouble
        return said

    def _mixed(self, rows: list[_Row], now: datetime) -> list[Said]:
        said: list[Said] = []
        for row in rows:
            found = self._said(row, now)
            if found is not None:
                said.append(found)
        return said

    def _one_by_one(self, codec: _Codec, frame: bytes, now: datetime) -> list[Said]:
        try:
            raws = codec.raw_rows(frame)
        except UNREADABLE:
            return [unreadable("a frame that is no list of messages", frame, self._clock)]
        said: list[Said] = []
        for raw in raws:
            try:
                found = self._said(codec.row(raw), now)
            except (*UNREADABLE, ValueError, ArithmeticError) as error:
                found = unreadable(f"a market data message: {error}"[:300], bytes(raw), self._clock)
            if found is not None:
                said.append(found)
        return said

    def _said(self, row: _Row, now: datetime) -> Said | None:
        if isinstance(row, _Quote):
            return QuoteSighting(symbol=row.S, at=utc(row.t), received_at=now, bid=positive(row.bp), ask=positive(row.ap))
        if isinstance(row, _Trade):
            return QuoteSighting(symbol=row.S, at=utc(row.t), received_at=now, last=positive(row.p), source="trade")
        if isinstance(row, _Bar):
            return _bars([row])[0]
        if isinstance(row, _Status | _Band):
            return self._status(row) if isinstance(row, _Status) else _band(row)
        if isinstance(row, _Success | _Subscription):
            self._answer, self._listening = row, isinstance(row, _Subscription)
        elif isinstance(row, _Error):
            return self._error(row)
        return None

    def _status(self, row: _Status) -> Said | None:
        words = " ".join(text for text in (row.sm, row.rc, row.rm) if text)
        if row.sc in _NO_HALT:
            return None
        halted = row.sc in _HALTS or (row.sc not in _RESUMPTIONS and "halt" in row.sm.lower())
        if not halted and row.sc not in _RESUMPTIONS:
            return UnknownUpdate(what=f"trading status {row.sc!r} of {row.S}", payload=words, at=self._clock.now())
        return HaltSighting(symbol=row.S, halted=halted, reason=words or row.sc, at=utc(row.t))

    def _error(self, row: _Error) -> Said | None:
        words = f"data stream: {row.code} {row.msg}"
        if row.code in _REFUSED and not (row.code == _NO_PLAN and self._listening):  # one channel that the plan lacks is no end
            self._trouble = StreamRefusedError(words)
            return None
        if row.code in _ENDED:
            self._trouble = StreamEndedError(words)
            return None
        return UnknownUpdate(what=words, payload="", at=self._clock.now())


def _bars(rows: Sequence[_Bar]) -> list[Said]:
    """Minute bars; the vendor's time is the bar's beginning, ours its close."""
    minute = _MINUTE
    return [
        BarSighting(symbol=b.S, resolution="1m", at=utc(b.t) + minute, open=b.o, high=b.h, low=b.l, close=b.c, volume=b.v) for b in rows
    ]


def _band(row: _Band) -> BandSighting | None:
    """Limit up/limit down, where both are prices."""
    lower, upper = positive(row.d), positive(row.u)
    return None if lower is None or upper is None else BandSighting(symbol=row.S, lower=lower, upper=upper, at=utc(row.t))


def utc(at: datetime) -> datetime:
    """A vendor's time; one without a zone is UTC."""
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def positive(price: Decimal | None) -> Decimal | None:
    """A price, or None where the vendor writes a zero for none."""
    return price if price is not None and price.is_finite() and price > 0 else None
