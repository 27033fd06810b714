"""Asks the model registry through a child process: MLflow (200 MB, three seconds) never enters the trading process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from hedgefund_core.errors import ModelUnavailable
from hedgefund_core.layout import MLFLOW_DB
from live_executor.ports import FoundBundle

_SECONDS = 120
_MEND = "run the research and promote a model: `make demo`, or job `promote` in Dagster"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the child prints when it has copied a bundle."""

    alias: str
    version: str


class RegistryChild:
    """The registry of a data folder."""

    def __init__(self, data: Path, scratch: Path) -> None:
        self._data, self._scratch = data, scratch

    def current(self, alias: str) -> FoundBundle:
        """Copy of the bundle that carries ``alias``; raises ModelUnavailable where nothing does or nobody answers."""
        if not (self._data / MLFLOW_DB).exists():
            raise ModelUnavailable(f"there is no model registry under {self._data}, so nothing carries {alias!r}", mend=_MEND)
        command = [sys.executable, "-m", "live_executor.models.mlflow_registry", "--alias", alias]
        command += ["--into", str(self._scratch), "--data", str(self._data)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ModelUnavailable(f"the model registry did not answer: {error}", mend="start again; the last good bundle stays") from error
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise ModelUnavailable(lines[-1], mend=_MEND)
        try:
            answer = msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=Answer)
        except (IndexError, msgspec.MsgspecError) as error:
            raise ModelUnavailable(f"the model registry gave an unreadable answer: {error}", mend=_MEND) from error
        return FoundBundle(folder=self._scratch, alias=answer.alias, version=answer.version)
