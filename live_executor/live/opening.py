"""Opens a live account: the first entry of its journal, with cash and positions as the broker has them. A later start checks the mode."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

import msgspec

from hedgefund_core import errors
from hedgefund_core.risk.limits import Mandate, digest_payload
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import Instrument
from hedgefund_core.trading.observed import AccountSighting, ActivitySighting, PositionSighting
from live_executor.live.cursor import ActivityCursor
from live_executor.live.floor import Floor
from live_executor.live.intake import FILL
from live_executor.logging import logger

T = TypeVar("T")
_log = logger("opening")
_STEADY_READS = 5


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """Who trades what under which mandate, as the first entry of the journal says it."""

    account: str
    book: str
    mode: str
    broker: str
    source: str
    mandate: Mandate
    price_kind: str = "raw"
    sessions_per_year: float = 252.0


async def patiently(floor: Floor, call: Callable[[], Awaitable[T]]) -> T:
    """Call again for up to `start_patience_seconds` while the broker is away, so that a short outage does not fail a start."""
    waited, tries = 0.0, 0
    while True:
        try:
            return await call()
        except (errors.BrokerUnavailable, errors.OrderOutcomeUnknown, errors.DataUnavailable) as error:
            if waited >= floor.settings.start_patience_seconds:
                raise
            pause = floor.pause(tries)
            _log.warning("broker away at the start", error=error.message, again_in=round(pause, 2))
            await floor.sleep(pause)
            waited, tries = waited + pause, tries + 1


async def open_account(floor: Floor, opening: Opening, cursor: ActivityCursor) -> None:
    """Journal the account as it is at the broker, or check that the journal is one of this account."""
    state = floor.state
    if state.account:
        trades, asked = (state.mode, floor.known.broker), (opening.mode, opening.broker)
        if trades != asked:  # watchdog and emergency stop go where the journal says
            message = f"account {state.account} trades in mode {trades[0]} at broker {trades[1]}, not in mode {asked[0]} at {asked[1]}"
            raise errors.ConfigError(message, mend="name another account with --account")
        await _whose_keys(floor)
        floor.desk.open(_configuration(floor, opening))
        return
    opened_at, account, positions, lines = await _steady(floor)
    _refuse_blocked(account)
    instruments = [Instrument(instrument_id=held.asset_id or held.symbol, symbol=held.symbol) for held in positions]
    first = e.AccountOpened(
        ts=opened_at,
        account=opening.account,
        book=opening.book,
        mode=opening.mode,
        broker=opening.broker,
        instruments=tuple(instruments),
        initial_cash=account.cash,
        source=opening.source,
        price_kind=opening.price_kind,
        sessions_per_year=opening.sessions_per_year,
        activities=tuple(line.activity_id for line in lines if line.activity_type != FILL),
        activities_through=lines[-1].activity_id if lines else "",
        broker_account=name_of(account),
    )
    cursor.move(lines)
    adopted = [
        e.PositionAdopted(
            ts=opened_at,
            instrument_id=held.asset_id or held.symbol,
            quantity=held.quantity,
            average_price=held.average_price,
            person=opening.account,
            reason="held at the broker when the account was opened",
        )
        for held in positions
    ]
    floor.desk.open([first, *_configuration(floor, opening), *adopted])


def name_of(account: AccountSighting) -> str:
    """A name for an account at the broker that does not tell its number."""
    return hashlib.sha256(account.account_number.encode()).hexdigest()[:16] if account.account_number else ""


def refuse_another(there: str, ours: str) -> None:
    """Raise ConfigError where the keys are those of another account: its fills would be booked here, and its orders cancelled."""
    if there and ours and there != ours:
        message = "the keys are of another account at the broker than the one that this account was opened with"
        raise errors.ConfigError(message, mend="set the keys of that account, or name another account with --account")


async def _whose_keys(floor: Floor) -> None:
    """A broker that does not say keeps nobody from starting: the account may have something to close."""
    if not floor.known.broker_account:
        return
    try:
        refuse_another(name_of(await floor.broker.account()), floor.known.broker_account)
    except (errors.BrokerUnavailable, errors.OrderOutcomeUnknown) as error:
        _log.warning("whose keys these are is not known yet", error=error.message)


def _configuration(floor: Floor, opening: Opening) -> list[e.Input]:
    payload = digest_payload(opening.mandate)
    digest = hashlib.sha256(payload + b"\n").hexdigest()
    if floor.state.configuration_digest == digest:
        return []
    return [e.ConfigurationLoaded(ts=floor.now(), digest=digest, mandate=msgspec.Raw(payload))]


async def _steady(floor: Floor) -> tuple[datetime, AccountSighting, list[PositionSighting], list[ActivitySighting]]:
    """Cash, positions and activities of one moment: the cash was the same before and after, so that every activity listed is in it."""
    for _ in range(_STEADY_READS):
        at = floor.now()
        account = await floor.broker.account()
        positions, lines = await asyncio.gather(floor.broker.positions(), floor.broker.activities("", since=at))
        again = await floor.broker.account()
        if again.cash == account.cash:
            return at, account, positions, lines
    raise errors.BrokerUnavailable(
        "the account trades while it is being opened: its cash does not hold still", mend="stop what else trades on it, then run again"
    )


def _refuse_blocked(account: AccountSighting) -> None:
    if account.trouble:
        what = ", ".join(account.trouble)
        raise errors.Halted(f"the broker does not let this account trade: {what}", mend="ask the broker to lift it, then run again")
