"""The registry, asked by a child process: MLflow's 200 MB never enter the trading process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hedgefund_core.errors import ModelUnavailable
from hedgefund_core.layout import LIVE

TIMEOUT_SECONDS = 120
_MEND = "run `make demo`, or promote a model: set the alias `champion` in MLflow to a version with a passed gate verdict"


class MlflowSource:
    """Resolves an alias and copies the bundle's files below the data folder."""

    def __init__(self, data: Path, folder: Path | None) -> None:
        self._data = data

    def current(self, alias: str) -> Path:
        """A fresh copy of the files of the aliased version; raises ModelUnavailable with the child's own words."""
        into = self._data / LIVE / ".incoming" / str(os.getpid())
        command = [sys.executable, "-m", "live_executor.models.mlflow_registry", "--alias", alias, "--into", str(into)]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as error:
            message = f"the model registry did not answer within {TIMEOUT_SECONDS} s"
            raise ModelUnavailable(message, mend="check data/mlflow.db, then run the command again") from error
        if done.returncode:
            lines = [line for line in done.stderr.strip().splitlines() if line]
            raise ModelUnavailable(lines[-1] if lines else f"the registry's child ended with {done.returncode}", mend=_MEND)
        return into
