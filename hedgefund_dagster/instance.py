"""Where Dagster keeps its own state: ``<data folder>/dagster``, chosen when the instance is loaded.

Dagster's YAML can read a folder from an environment variable but has no default for it: an unset one is a hard error in every
process. These classes of ``dagster.yaml`` are Dagster's SQLite, artifact and log stores with that default added.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine

Settings = Mapping[str, object]
OPEN_DATABASES = 8
BUSY_SECONDS = 30


def state_folder() -> str:
    """Folder of Dagster's state: it moves with ``HEDGEFUND_DATA_DIR`` like everything else that is generated."""
    return str(Path(os.environ.get("HEDGEFUND_DATA_DIR") or "data").resolve() / "dagster")


class EmbeddedEvents(SqliteEventLogStorage):
    """Dagster's event log with its databases kept open: for each event Dagster opens one, compiles its statement and closes it again."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> Engine:
        """The engine of a run's database, or of the index; those not used for longest are closed."""
        known = self._engines.pop(shard, None)
        self._engines[shard] = known or create_engine(self.conn_string_for_shard(shard), connect_args={"timeout": BUSY_SECONDS})
        while len(self._engines) > OPEN_DATABASES:
            self._engines.pop(next(iter(self._engines))).dispose()
        return self._engines[shard]

    def dispose(self) -> None:
        """Close them all."""
        while self._engines:
            self._engines.popitem()[1].dispose()
        super().dispose()


class EmbeddedStorage(DagsterSqliteStorage):
    """Runs, events and schedules in SQLite files."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = EmbeddedEvents(str(Path(base_dir) / "history" / "runs"))

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
