"""The wiring of an account on the wall clock: settings, keys, adapters, targets and the account's folder become one run."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import msgspec

from hedgefund_core.account import State
from hedgefund_core.errors import ConfigError
from hedgefund_core.identifiers import is_account
from hedgefund_core.layout import LIVE, account_folder
from live_executor import logging
from live_executor.app import bundles_of
from live_executor.app_model import model_plan, opening_of
from live_executor.clock import SteadyClock
from live_executor.commands import Mailbox
from live_executor.desk import Summary
from live_executor.feeds.recorder import Recorder, RecordingFeed
from live_executor.journals import JOURNALS
from live_executor.live.adapters import LIVE_BROKERS, LIVE_FEEDS, LiveSetup
from live_executor.live.heartbeat import Heartbeat
from live_executor.live.model import ModelPlan
from live_executor.live.opening import Opening
from live_executor.live.runtime import Live, LiveParts
from live_executor.live.timeline import Timeline
from live_executor.ports import Journal, LiveBroker, LiveFeed
from live_executor.recovery import Recovered, restart
from live_executor.settings import Settings, mark_last_account, seconds_of
from live_executor.targets import TargetsFile

SENTENCE = "I trade real money with this account"
_NAMES = {signal.SIGINT: "sigint", signal.SIGTERM: "sigterm"}
_HALTS = {signal.SIGUSR1: 1, signal.SIGUSR2: 2}


class LiveRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``executor run --mode paper|live`` was asked for; empty text = what the settings say."""

    mode: str
    account: str = ""
    broker: str = ""
    feed: str = ""
    targets: Path | None = None
    """Without a file the promoted model is traded."""
    bundle: Path | None = None
    """A promoted bundle's folder instead of the registry's alias."""
    rebalance_every: str = ""
    recorded: str = ""
    """Account whose recorded feed ``--feed replay`` plays; empty = its own."""
    speed: float = 1.0
    """Of a recorded feed; 0 = as fast as it is taken."""
    once: bool = False
    max_sessions: int = 0
    live: bool = False
    """Whether ``--live`` was given."""
    verbose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A run to be made."""

    settings: Settings
    request: LiveRequest
    setup: LiveSetup
    rebalance_every: float | None
    """Seconds between two looks at drift; None = once a session."""
    on_beat: Callable[[State, Heartbeat], None]

    @property
    def account(self) -> str:
        """The account named, else one of the mode's own: a replay's account is never traded on."""
        return self.request.account or self.request.mode

    @property
    def folder(self) -> Path:
        """The account's folder."""
        return self.settings.data / account_folder(self.account)

    @property
    def broker(self) -> str:
        """Name of the broker."""
        return self.request.broker or "alpaca"

    @property
    def feed(self) -> str:
        """Name of the feed: the broker's own where none is named."""
        return self.request.feed or self.broker


def heed_signals(live: Live) -> None:
    """Ctrl-C and SIGTERM end the run in order; SIGUSR1 halts at level 1, SIGUSR2 at level 2."""
    loop = asyncio.get_running_loop()
    for number, name in _NAMES.items():
        loop.add_signal_handler(number, live.stop, name)
    for number, level in _HALTS.items():
        loop.add_signal_handler(number, live.halt, level, number.name)


def run_live(
    settings: Settings,
    request: LiveRequest,
    on_beat: Callable[[State, Heartbeat], None] = lambda _state, _beat: None,
    on_live: Callable[[Live], None] = heed_signals,
) -> Summary:
    """Trade an account on the wall clock until it is stopped; raises the errors of ``hedgefund_core.errors``.

    ``on_live`` gets the account before it begins: who hosts it in a process of many things stops it in another way than by signals.
    """
    _refuse_unarmed(settings, request)
    every = seconds_of(*_rebalance_every(settings, request))
    setup = LiveSetup(
        env=os.environ,
        live=request.mode == "live",
        clock=SteadyClock(),
        rng=random.Random(),  # noqa: S311 - jitter of pauses, no secret
        locks=settings.data / LIVE / ".locks",
        folder=settings.data / account_folder(request.account or request.mode),
        recorded=None if not request.recorded else settings.data / account_folder(request.recorded),
        speed=request.speed,
        cash=settings.trading.initial_cash,
    )
    job = _Job(settings=settings, request=request, setup=setup, rebalance_every=every, on_beat=on_beat)
    if not is_account(job.account):
        raise ConfigError(f"{job.account!r} is no account name", mend="use --account with letters, digits and . _ -")
    for what, name, known in (("broker", job.broker, sorted(LIVE_BROKERS)), ("feed", job.feed, sorted(LIVE_FEEDS))):
        if name not in known:
            raise ConfigError(f"{what} {name!r} does not trade on the wall clock", mend=f"choose one of {', '.join(known)}")
    logging.configure(job.folder, verbose=request.verbose)
    journal = JOURNALS["sqlite"](settings.data, settings.keys, job.account)
    try:
        recovered = restart(journal, bundles_of(settings, job.account))
        mark_last_account(settings.data, job.account)
        (settings.data / LIVE / ".locks").mkdir(exist_ok=True)
        return asyncio.run(_trade(job, journal, recovered, on_live))
    finally:
        journal.close()


async def _trade(job: _Job, journal: Journal, recovered: Recovered, on_live: Callable[[Live], None]) -> Summary:
    timeline = Timeline(job.setup.clock)
    setup = msgspec.structs.replace(job.setup, data_due=lambda: timeline.is_open)  # holidays and half days are the broker's to know
    broker, feed = LIVE_BROKERS[job.broker](setup), LIVE_FEEDS[job.feed](setup)
    try:
        recorder = _recorder(job)
        heard = feed if recorder is None else RecordingFeed(feed, recorder)
        parts = _parts(job, broker, heard, journal, recovered.state, recorder)
        live = Live(replace(parts, timeline=timeline), recovered)
        on_live(live)
        return await live.run()
    finally:
        await broker.close()
        await feed.close()


def _parts(job: _Job, broker: LiveBroker, feed: LiveFeed, journal: Journal, state: State, recorder: Recorder | None) -> LiveParts:
    trading, request = job.settings.trading, job.request
    opening, plan = _what_trades(job, state)
    return LiveParts(
        journal=journal,
        broker=broker,
        feed=feed,
        mailbox=Mailbox(job.settings.data, job.account),
        clock=job.setup.clock,
        sleep=job.setup.sleep,
        rng=job.setup.rng,
        settings=trading.live,
        sign_every=trading.sign_every_frames,
        opening=opening,
        model=plan,
        recorder=recorder,
        targets=None if request.targets is None else TargetsFile(request.targets),
        rebalance_every=job.rebalance_every,
        once=request.once,
        max_sessions=request.max_sessions,
        folder=job.folder,
        on_beat=job.on_beat,
    )


def _recorder(job: _Job) -> Recorder | None:
    """What a feed says is kept, except where it is a recording already."""
    live = job.settings.trading.live
    if not live.record_feed or job.feed == "replay":
        return None
    return Recorder(job.folder, job.setup.clock, rotate_after=timedelta(minutes=live.record_rotate_minutes))


def _what_trades(job: _Job, state: State) -> tuple[Opening, ModelPlan | None]:
    """A file of targets, else the promoted model; raises ModelUnavailable where none is promoted."""
    settings, request = job.settings, job.request
    if request.targets is None:
        plan, model = model_plan(settings, job.account, request.bundle, state)
        where = {"account": job.account, "mode": request.mode, "broker": job.broker}
        return opening_of(settings, model, panel=None if state.account else plan.panel(), **where), plan
    mandate = settings.mandates[settings.trading.live.mandate]
    opening = Opening(
        account=job.account, book=settings.trading.book, mode=request.mode, broker=job.broker, source=job.broker, mandate=mandate
    )
    return opening, None


def _rebalance_every(settings: Settings, request: LiveRequest) -> tuple[str, str]:
    """How often drift is traded, and who says so."""
    if request.rebalance_every:
        return request.rebalance_every, "--rebalance-every"
    return settings.trading.live.rebalance_every, "live.rebalance_every"


def _refuse_unarmed(settings: Settings, request: LiveRequest) -> None:
    """Real money is traded in two deliberate steps: an option of the command, and a sentence in the configuration."""
    if request.mode != "live":
        if request.live:
            raise ConfigError(f"--live is given with --mode {request.mode}", mend="use --mode live --live, or leave --live out")
        return
    if not request.live:
        raise ConfigError("--mode live trades real money and --live is not given", mend="add --live if that is meant, or use --mode paper")
    if settings.trading.live.sentence.strip() != SENTENCE:
        raise ConfigError(
            "config/trading.yaml: live.sentence is not the sentence that arms real money",
            mend=f'type it there: live: {{sentence: "{SENTENCE}"}}',
        )
