"""The house in which tests simulate: the limits and the pace of the configuration in the repository."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from live_executor.settings import read_settings
from live_executor.simulation.world import House, house_of

ROOT = Path(__file__).resolve().parents[2]
SEEDS = Path(__file__).with_name("seeds")


@cache
def house() -> House:
    settings = read_settings({"HEDGEFUND_CONFIG_DIR": str(ROOT / "config")})
    return house_of(settings.mandates["discretionary"], settings.mandate, settings.trading.live)
