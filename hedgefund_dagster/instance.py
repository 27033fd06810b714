"""Where Dagster keeps its own state: ``<data folder>/dagster``, chosen when the instance is loaded.

Dagster's YAML can read a folder from an environment variable but has no default for it: an unset one is a hard error in every
process. These classes of ``dagster.yaml`` are Dagster's SQLite, artifact and log stores with that default added.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

Settings = Mapping[str, object]


def state_folder() -> str:
    """Folder of Dagster's state: it moves with ``HEDGEFUND_DATA_DIR`` like everything else that is generated."""
    return str(Path(os.environ.get("HEDGEFUND_DATA_DIR") or "data").resolve() / "dagster")


class EmbeddedStorage(DagsterSqliteStorage):
    """Runs, events and schedules in SQLite files."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Nothing to configure in YAML."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Settings) -> Self:  # noqa: ARG003 - Dagster calls it by this name
        """Called by Dagster when it loads the instance."""
        return cls.from_local(state_folder(), inst_data=inst_data)


class EmbeddedArtifacts(LocalArtifactStorage):
    """Outputs that Dagster itself stores."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Nothing to configure in YAML."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Settings) -> Self:  # noqa: ARG003 - Dagster calls it by this name
        """Called by Dagster when it loads the instance."""
        return cls(state_folder(), inst_data=inst_data)


class EmbeddedLogs(LocalComputeLogManager):
    """What the steps print."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Nothing to configure in YAML."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Settings) -> Self:  # noqa: ARG003 - Dagster calls it by this name
        """Called by Dagster when it loads the instance."""
        return cls(str(Path(state_folder()) / "logs"), inst_data=inst_data)
