"""The wiring: settings, panel, model, journal, broker and feed become one account that trades."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from hedgefund_core.account import State, rows_kept
from hedgefund_core.backtest.event_driven import waived_rules
from hedgefund_core.errors import ConfigError
from hedgefund_core.identifiers import is_account
from hedgefund_core.layout import account_folder
from hedgefund_core.quant.bars import Panel
from hedgefund_core.risk.limits import digest_payload
from hedgefund_core.trading import events as e
from live_executor import logging
from live_executor.brokers import BROKERS, BrokerSetup
from live_executor.clock import SimulatedClock, SystemClock
from live_executor.commands import Mailbox
from live_executor.desk import Summary
from live_executor.feeds import FEEDS, FeedPlan
from live_executor.journals import JOURNALS
from live_executor.models.child import newest
from live_executor.models.loader import Admitted, first_model, stored
from live_executor.models.trust import trusted_verifier
from live_executor.panels import instruments_of, only, read_panel
from live_executor.ports import Broker, Journal, SimulatedMarket
from live_executor.recovery import BundleOf, Recovered, restart
from live_executor.runtime import Parts, Runtime
from live_executor.settings import Settings, mark_last_account

T = TypeVar("T")
_log = logging.logger("app")


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What `executor run` was asked for; empty text = what the settings or the journal say."""

    account: str = ""
    source: str = ""
    broker: str = ""
    feed: str = ""
    first: str = ""
    last: str = ""
    max_sessions: int = 0
    seconds_per_session: float = 0.0
    bundle: Path | None = None
    verbose: bool = False


def run(settings: Settings, request: RunRequest, on_session: Callable[[State], None] = lambda _state: None) -> Summary:
    """Open an account and trade it to the end of the request; raises the errors of ``hedgefund_core.errors``."""
    account = request.account or settings.trading.account
    if not is_account(account):
        raise ConfigError(f"{account!r} is no account name", mend="correct `account` in config/trading.yaml, or use --account")
    logging.configure(settings.data / account_folder(account), verbose=request.verbose)
    journal = JOURNALS["sqlite"](settings.data, settings.keys, account)
    try:
        recovered = restart(journal, bundles_of(settings, account))
        return asyncio.run(_trade(settings, request, account, journal, recovered, on_session))
    finally:
        journal.close()


async def _trade(
    settings: Settings, request: RunRequest, account: str, journal: Journal, recovered: Recovered, on_session: Callable[[State], None]
) -> Summary:
    if recovered.state.account and not recovered.state.is_replayed:
        message = f"account {account} trades in mode {recovered.state.mode}, on the wall clock: past sessions are no part of it"
        raise ConfigError(message, mend=f"executor run --mode {recovered.state.mode} --account {account}, or name another --account")
    source = recovered.state.source or request.source or settings.universe.source
    if request.source not in {"", source}:
        raise ConfigError(f"account {account} trades {source}, not {request.source}", mend="use another --account for another source")
    panel = read_panel(settings.data, source)
    if recovered.state.instruments:
        panel = only(panel, [instrument.symbol for instrument in recovered.state.instruments])
    admitted = find_model(settings, request, account, recovered.state)
    feed = _chosen(FEEDS, request.feed or settings.trading.feed, "feed")(panel, _plan(settings, request, admitted))
    broker = open_broker(settings, account, source, request.broker)
    try:
        parts = Parts(
            journal=journal,
            broker=broker,
            market=cast("SimulatedMarket", broker),  # every broker of mode replay lives on simulated time
            feed=feed,
            mailbox=Mailbox(settings.data, account),
            simulated=SimulatedClock(),
            wall=SystemClock(),
            sign_every=settings.trading.sign_every_frames,
            on_session=on_session,
        )
        runtime = Runtime(parts, recovered)
        await runtime.refuse_lost_books()
        before = feed.history(recovered.place, 1)
        now = recovered.ts if before is None else max(recovered.ts, before.ts)
        _open_account(runtime, settings, request, account, panel, now)
        mark_last_account(settings.data, account)  # only after a start that succeeded: a failed one leaves no account to look at
        _load_model(runtime, admitted, now)
        history = feed.history(recovered.place, rows_kept(runtime.state))
        if history is not None and _knows_less(runtime.state, history):
            runtime.open([msgspec.structs.replace(history, ts=now)])
        return await runtime.run()
    finally:
        await broker.close()


def _plan(settings: Settings, request: RunRequest, admitted: Admitted | None) -> FeedPlan:
    """The stretch of sessions to trade; a new account begins where its model's training ended."""
    return FeedPlan(
        first=request.first or ("" if admitted is None else admitted.bundle.manifest.trained_through),
        last=request.last,
        max_sessions=request.max_sessions,
        seconds_per_session=request.seconds_per_session,
        anchor=settings.mandate.rebalancing.anchor,
        fill=settings.trading.fill,
        decision_delay_minutes=settings.trading.decision_delay_minutes,
    )


def _open_account(runtime: Runtime, settings: Settings, request: RunRequest, account: str, panel: Panel, now: datetime) -> None:
    """First frame of a new journal; the mandate whenever it is another than the one on record."""
    trading, opening = settings.trading, list[e.Input]()
    if not runtime.state.account:
        opened = e.AccountOpened(
            ts=now,
            account=account,
            book=trading.book,
            mode=trading.mode,
            broker=request.broker or trading.broker,
            instruments=instruments_of(panel),
            initial_cash=trading.initial_cash,
            source=panel.source,
            price_kind=panel.price_kind.value,
            sessions_per_year=panel.sessions_per_year,
        )
        opening.append(opened)
    payload = digest_payload(settings.mandate)
    waived = tuple(sorted(trading.waived.get(panel.source, waived_rules(panel))))
    digest = hashlib.sha256(payload + b"\n" + ",".join(waived).encode()).hexdigest()
    if runtime.state.configuration_digest != digest:
        opening.append(e.ConfigurationLoaded(ts=now, digest=digest, mandate=msgspec.Raw(payload), waived=waived))
    if opening:
        runtime.open(opening)


def _load_model(runtime: Runtime, admitted: Admitted | None, now: datetime) -> None:
    if admitted is None or admitted.bundle.digest == runtime.state.model_digest:
        return
    runtime.open([admitted.loaded(now)], [admitted.bundle])


def _knows_less(state: State, history: e.HistoryLoaded) -> bool:
    """Whether the state holds fewer sessions than it needs and the panel has them."""
    return state.ring is None or state.ring.shape[0] < min(len(history.sessions), rows_kept(state))


def find_model(settings: Settings, request: RunRequest, account: str, state: State) -> Admitted | None:
    """The bundle to trade; see `first_model`."""
    return first_model(lambda: newest(settings, account, request.bundle), state, named=request.bundle is not None)


def bundles_of(settings: Settings, account: str) -> BundleOf:
    """Digest -> the account's kept copy of a bundle, verified again."""
    store, verify = settings.data / account_folder(account) / "bundles", trusted_verifier(settings.keys)
    return lambda digest: stored(store, digest, verify).bundle


def open_broker(settings: Settings, account: str, source: str, name: str = "") -> Broker:
    """The account's broker, by name or as configured."""
    setup = BrokerSetup(
        data=settings.data, account=account, source=source, costs=settings.mandate.costs, initial_cash=settings.trading.initial_cash
    )
    return _chosen(BROKERS, name or settings.trading.broker, "broker")(setup)


def _chosen(registry: dict[str, T], name: str, what: str) -> T:
    if name not in registry:
        raise ConfigError(f"unknown {what} {name!r}", mend=f"choose one of {', '.join(sorted(registry))}")
    return registry[name]
