"""Settings of the executor: reads the files and the environment; what they mean is checked in the core. Also which account is meant."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import yaml

from hedgefund_core.configuration import UniverseSettings, resolve
from hedgefund_core.errors import ConfigError
from hedgefund_core.layout import LAST_ACCOUNT
from hedgefund_core.risk.limits import Mandate, RiskSettings

T = TypeVar("T")


class LiveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section ``live`` of ``config/trading.yaml``: an account on the wall clock. Numbers are seconds unless they say otherwise."""

    mandate: str
    sentence: str
    rebalance_every: str
    orders_every_seconds: float
    urgent_every_seconds: float
    books_every_seconds: float
    clock_every_seconds: float
    mailbox_every_seconds: float
    heartbeat_every_seconds: float
    targets_every_seconds: float
    absence_seconds: float
    stale_price_seconds: float
    entries_wait_seconds: float
    reprice_seconds: float
    session_grace_seconds: float
    start_patience_seconds: float
    stop_patience_seconds: float
    orders_in_flight: int
    on_stop: Literal["cancel_entries", "cancel_all", "leave"]
    record_feed: bool = True
    record_sync_seconds: float = 1.0
    record_rotate_minutes: float = 15.0
    on_journal_failure: Literal["cancel", "flatten", "leave"] = "cancel"
    starts_budget: int = 5
    starts_window_seconds: float = 600.0


class TradingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``config/trading.yaml``."""

    account: str
    book: str
    mandate: str
    alias: str
    alias_every: str
    initial_cash: Decimal
    mode: Literal["replay"]
    """Of what the other keys here describe; paper and live are asked for by the command, and described under ``live``."""
    broker: str
    feed: str
    fill: Literal["auto", "next_open", "next_close"]
    decision_delay_minutes: int
    sign_every_frames: int
    waived: dict[str, tuple[str, ...]]
    trusted_keys: str
    live: LiveSettings


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the executor is told, and where each value came from."""

    data: Path
    config: Path
    trading: TradingSettings
    universe: UniverseSettings
    mandate: Mandate
    mandates: dict[str, Mandate]
    origins: dict[str, dict[str, str]]
    """File -> dotted key -> the file or variable it came from."""

    @property
    def keys(self) -> Path:
        """Folder of the keys: outside the data folder."""
        return self.config / self.trading.trusted_keys


_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHORTEST_SECONDS = 0.05


def seconds_of(every: str, name: str) -> float | None:
    """``500ms``, ``30s``, ``1m``, ``1h`` as seconds; None for ``session``. Raises ConfigError with the ``name`` of the option or key."""
    if every == "session":
        return None
    found = _DURATION.fullmatch(every)
    seconds = 0.0 if found is None else float(found["number"]) * _UNITS[found["unit"]]
    if seconds < _SHORTEST_SECONDS:
        raise ConfigError(f"{name} {every!r} is no duration of 50ms or more", mend="write 500ms, 30s, 1m, 1h or session")
    return seconds


def data_folder(env: Mapping[str, str] | None = None) -> Path:
    """Where the data are: known without any file, so that a mistake in one keeps nobody from halting."""
    return Path((os.environ if env is None else env).get("HEDGEFUND_DATA_DIR") or "data")


def last_account(data: Path) -> str:
    """The account that commands mean when they name none: the one that was traded last; empty before the first."""
    marker = data / LAST_ACCOUNT
    return marker.read_text().strip() if marker.exists() else ""


def mark_last_account(data: Path, account: str) -> None:
    """Remember the account for commands that name none."""
    marker = data / LAST_ACCOUNT
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(f"{account}\n")


def read_settings(env: Mapping[str, str] | None = None) -> Settings:
    """Read everything; raises ConfigError naming file and key."""
    given = os.environ if env is None else env
    config = Path(given.get("HEDGEFUND_CONFIG_DIR") or "config")
    trading, of_trading = read_file(config, "trading", given, TradingSettings)
    universe, of_universe = read_file(config, "universe", given, UniverseSettings)
    risk, of_risk = read_file(config, "risk", given, RiskSettings)
    for key, name in (("mandate", trading.mandate), ("live.mandate", trading.live.mandate)):
        if name not in risk.mandates:
            message = f"{config / 'trading.yaml'}: {key} {name!r} is not in {config / 'risk.yaml'}"
            raise ConfigError(message, mend=f"choose one of {', '.join(sorted(risk.mandates))}")
    return Settings(
        data=data_folder(given),
        config=config,
        trading=trading,
        universe=universe,
        mandate=risk.mandates[trading.mandate],
        mandates=risk.mandates,
        origins={"trading": of_trading, "universe": of_universe, "risk": of_risk},
    )


def read_file(config: Path, stem: str, env: Mapping[str, str], target: type[T]) -> tuple[T, dict[str, str]]:
    """One file of the configuration folder and the origins of its values; raises ConfigError naming file and key."""
    path = config / f"{stem}.yaml"
    if not path.exists():
        message = f"{path} is missing"
        raise ConfigError(message, mend="restore it from the repository, or set HEDGEFUND_CONFIG_DIR")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f"{path} is not YAML: {error}"
        raise ConfigError(message, mend=f"correct {path}") from error
    if not isinstance(content, dict):
        message = f"{path} holds no settings"
        raise ConfigError(message, mend="restore it from the repository")
    return resolve(str(path), content, env, target)
