"""``doctor``: everything that trading stands on, each finding with the command that mends it."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from hedgefund_core.errors import BrokerUnavailable, HedgefundError, JournalError
from hedgefund_core.layout import MLFLOW_DB, account_folder, halt_file, journal_file
from hedgefund_core.trading.events import AccountOpened
from live_executor.clock import SystemClock
from live_executor.journals.lock import holder_of
from live_executor.journals.sqlite import JournalReader
from live_executor.live.adapters import LIVE_BROKERS, LiveSetup
from live_executor.panels import read_panel
from live_executor.queries.configuration import validate
from live_executor.settings import Settings, last_account, read_settings

_LEAST_DISK = 1 << 30
_KEYS = ("journal.key", "promotion.key")
_WEIGHT_ERROR = 0.01
"""Of equity a name: the error of whole shares that the minimum capital allows for, a tenth of a full position."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at. ``status``: ok, warn or fail."""

    check: str
    status: str
    found: str
    mend: str = ""


def examine(account: str) -> list[Finding]:
    """Every finding; a check that fails does not keep the others from being made."""
    findings = [_environment(), *_guarded("configuration", lambda: [_configuration()])]
    if findings[-1].status == "fail":
        return findings
    settings = read_settings()
    name = account or last_account(settings.data) or settings.trading.account
    opened = _opened(settings, name)
    checks: dict[str, Callable[[], list[Finding]]] = {
        "keys": lambda: _keys(settings),
        "data folder": lambda: [_data(settings)],
        "disk": lambda: [_disk(settings)],
        "clock": lambda: [_clock(settings, name)],
    }
    if opened is not None and opened.mode != "replay":
        checks["broker"] = lambda: [_broker(settings, opened)]
    if opened is None or opened.source not in LIVE_BROKERS:  # targets need neither panel nor model
        source = settings.universe.source if opened is None else opened.source
        checks |= {"panel": lambda: _panel(settings, source), "champion": lambda: [_champion(settings)]}
    checks |= {
        "journal": lambda: [_journal(settings, name)],
        "lock": lambda: [_lock(settings, name)],
        "halt": lambda: [_halt(settings, name)],
    }
    for check, look in checks.items():
        findings += _guarded(check, look)
    return findings


def _guarded(check: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return look()
    except HedgefundError as error:
        return [Finding(check=check, status="fail", found=error.message, mend=error.mend)]


def _environment() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding(check="environment", status="ok", found=f"Python {version}, numpy {np.__version__}, msgspec {msgspec.__version__}")


def _configuration() -> Finding:
    return Finding(check="configuration", status="ok", found=f"valid: {', '.join(validate())}")


def _keys(settings: Settings) -> list[Finding]:
    found = []
    for name in _KEYS:
        path = settings.keys / name
        if not path.exists():
            maker = "the first `executor run` makes it" if name == "journal.key" else "the first promotion makes it: make demo"
            found.append(Finding(check=f"key {name}", status="warn", found="absent", mend=maker))
        elif path.stat().st_mode & 0o077:
            mode = f"{path.stat().st_mode & 0o777:03o}"
            found.append(Finding(check=f"key {name}", status="fail", found=f"mode {mode}: others can read it", mend=f"chmod 600 {path}"))
        else:
            found.append(Finding(check=f"key {name}", status="ok", found="present, mode 600"))
    return found


def _data(settings: Settings) -> Finding:
    folder = settings.data
    if not folder.is_dir():
        return Finding(check="data folder", status="warn", found=f"{folder} does not exist yet", mend="make demo")
    if not os.access(folder, os.W_OK):
        return Finding(check="data folder", status="fail", found=f"{folder} cannot be written", mend=f"chown -R $USER {folder}")
    return Finding(check="data folder", status="ok", found=str(folder))


def _disk(settings: Settings) -> Finding:
    place = settings.data if settings.data.is_dir() else Path()
    free = shutil.disk_usage(place).free
    words = f"{free / (1 << 30):.1f} GiB free"
    if free < _LEAST_DISK:
        return Finding(
            check="disk", status="fail", found=words, mend="free at least 1 GiB: entries stop when the journal cannot be written"
        )
    return Finding(check="disk", status="ok", found=words)


def _clock(settings: Settings, account: str) -> Finding:
    now = SystemClock().now()
    path = settings.data / journal_file(account)
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.exists() else None
    if written is not None and written > now:
        return Finding(
            check="clock", status="fail", found=f"{now.isoformat()} is before the journal's last write", mend="timedatectl set-ntp true"
        )
    return Finding(check="clock", status="ok", found=now.isoformat(timespec="seconds"))


def _opened(settings: Settings, account: str) -> AccountOpened | None:
    """How the account was opened; None where there is no journal, or none that can be read: another check says so."""
    path = settings.data / journal_file(account)
    with suppress(JournalError):
        if path.exists():
            with closing(JournalReader(path)) as reader:
                first = next(reader.read(kinds=("account_opened",)), None)
            return first.frame if first is not None and isinstance(first.frame, AccountOpened) else None
    return None


def _broker(settings: Settings, opened: AccountOpened) -> Finding:
    """Whether keys and addresses are there and the broker answers to them; nothing is changed."""
    setup = LiveSetup(
        env=os.environ,
        live=opened.mode == "live",
        clock=SystemClock(),
        rng=random.Random(),  # noqa: S311 - jitter
        folder=settings.data / account_folder(opened.account),
        keep=False,
    )

    async def ask() -> Finding:
        broker = LIVE_BROKERS[opened.broker](setup)
        try:
            account = await broker.account()
        finally:
            await broker.close()
        if account.trouble:
            why = f"{opened.broker} lets this account not trade: {', '.join(account.trouble)}"
            return Finding(check="broker", status="fail", found=why, mend="ask the broker: its own page says why")
        return Finding(check="broker", status="ok", found=f"{opened.broker} answers: cash {account.cash:,f}")

    try:
        return asyncio.run(ask())
    except BrokerUnavailable as error:
        mend = "see whether the address is right (docs/alpaca.md) and the broker's own status page says that it is up"
        return Finding(check="broker", status="fail", found=error.message, mend=mend)


def _panel(settings: Settings, source: str) -> list[Finding]:
    panel = read_panel(settings.data, source)
    words = f"{source}: {panel.shape[1]} symbols, {panel.shape[0]} sessions to {panel.sessions[-1]}, sha256 as in its manifest"
    return [Finding(check="panel", status="ok", found=words), _capital(settings, panel.close)]


def _capital(settings: Settings, close: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Finding:
    """Whole shares: half a share of the dearest name may be off its weight by no more than the tolerated error."""
    last = np.array([column[np.isfinite(column)][-1] for column in close.T if np.isfinite(column).any()])
    gross = settings.mandate.limits.max_gross
    weight = min(settings.mandate.limits.max_position_weight, gross / max(len(last), 1))
    needed = float(last.max(initial=0.0)) / 2.0 / (_WEIGHT_ERROR * 10.0 * weight)
    cash = float(settings.trading.initial_cash)
    words = f"whole shares of {len(last)} names need about {needed:,.0f} USD for weights within 10 %; configured: {cash:,.0f}"
    if cash < needed:
        return Finding(
            check="minimum capital", status="warn", found=words, mend="raise initial_cash in config/trading.yaml, or trade fewer names"
        )
    return Finding(check="minimum capital", status="ok", found=words)


def _champion(settings: Settings) -> Finding:
    """Ask the registry for the alias and verify the bundle in a scratch folder: nothing of the account is touched."""
    from live_executor.models import MODEL_SOURCES
    from live_executor.models.loader import admit
    from live_executor.models.trust import trusted_verifier

    if not (settings.data / MLFLOW_DB).exists():
        return Finding(check="champion", status="warn", found="there is no model registry yet", mend="make demo")
    alias, today = settings.trading.alias, SystemClock().now().date()
    folder = MODEL_SOURCES["mlflow"](settings.data, None).current(alias)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            admitted = admit(folder, Path(scratch), trusted_verifier(settings.keys), on=today, alias=alias)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    manifest = admitted.bundle.manifest
    version = admitted.registered.version
    words = f"{manifest.name} version {version}: signed, gate {manifest.gate.kind}, trained through {manifest.trained_through}"
    return Finding(check="champion", status="ok", found=words)


def _journal(settings: Settings, account: str) -> Finding:
    path = settings.data / journal_file(account)
    if not path.exists():
        return Finding(check="journal", status="warn", found=f"account {account} has none yet", mend="executor run")
    with closing(JournalReader(path)) as reader:
        result = reader.verify(settings.keys)
    if not result.ok:
        return Finding(
            check="journal", status="fail", found=f"broken at entry {result.first_broken}: {result.reason}", mend="executor audit verify"
        )
    return Finding(check="journal", status="ok", found=f"{result.entries} entries, signed through {result.signed_through}")


def _lock(settings: Settings, account: str) -> Finding:
    folder = settings.data / account_folder(account)
    holder = holder_of(folder) if folder.is_dir() else None
    return Finding(check="lock", status="ok", found="no executor is running" if holder is None else f"process {holder} trades {account}")


def _halt(settings: Settings, account: str) -> Finding:
    if (settings.data / halt_file(account)).exists():
        return Finding(
            check="halt", status="warn", found=f"account {account} is halted", mend="executor status; then executor resume --reason …"
        )
    return Finding(check="halt", status="ok", found="not halted")
