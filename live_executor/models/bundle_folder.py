"""A bundle that lies in a folder: for tests, and for a machine that has no registry."""

from __future__ import annotations

from pathlib import Path

from hedgefund_core.bundle import MANIFEST
from hedgefund_core.errors import ConfigError, ModelUnavailable


class BundleFolder:
    """The same bundle under every alias."""

    def __init__(self, data: Path, folder: Path | None) -> None:
        if folder is None:
            message = "the model source `folder` needs the folder of a bundle"
            raise ConfigError(message, mend="executor run --bundle DIR")
        self._folder = folder

    def current(self, alias: str) -> Path:
        """The folder; raises ModelUnavailable where no bundle lies in it."""
        if not (self._folder / MANIFEST).is_file():
            message = f"no bundle in {self._folder}: {MANIFEST} is missing"
            raise ModelUnavailable(message, mend=f"give the folder that holds the bundle's {MANIFEST} (asked for alias {alias})")
        return self._folder
