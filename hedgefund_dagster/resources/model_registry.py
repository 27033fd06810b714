"""MLflow as run log and model registry. Imported inside functions: it costs three seconds and 200 MB.

The registry is a database (SQLite under the data folder unless an address says otherwise); files go to the artifact folder.
An alias is a request: authority is the signed verdict inside the bundle, which the executor checks for itself.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from hedgefund_core import layout
from hedgefund_core.errors import ModelUnavailable
from hedgefund_dagster.resources.mlflow_database import ensure_database
from hedgefund_dagster.settings import data_folder, mlruns_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported, so set before anyone can

_FINISHED = "FINISHED"
MODEL_DESCRIPTION = """Scores of instruments, as signed bundles of plain arrays (no pickle, no code).

| alias | meaning |
|---|---|
| `champion` | what the executor is asked to trade |
| `challenger` | the best candidate of the latest research, traded by nobody |
| `previous` | the champion before this one: to go back, set `champion` to its version |

Moving an alias is a *request*. The executor follows it only to a version whose signed gate verdict (in `manifest.json`) allows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A registered version and what its tags say."""

    version: str
    run_id: str
    source: str
    tags: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Digest of the bundle."""
        return self.tags.get("bundle_digest", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What a training run is described by."""

    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    texts: Mapping[str, str]
    """File name -> content, shown on the run's page."""


class ModelRegistry:
    """Runs, versions and aliases."""

    def __init__(self, tracking_uri: str, artifacts: Path) -> None:
        self.tracking_uri = tracking_uri
        self._artifacts = artifacts

    @cached_property
    def _client(self) -> MlflowClient:
        import logging

        from mlflow import MlflowClient

        for name in ("alembic", "mlflow.store.db.utils"):  # the making of a new database is no news
            logging.getLogger(name).setLevel(logging.WARNING)

        if self.tracking_uri.startswith("sqlite:///"):
            ensure_database(Path(self.tracking_uri.removeprefix("sqlite:///")), self._artifacts)
        return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    def log_run(self, experiment: str, record: RunRecord) -> str:
        """Store a finished run with its texts; returns its id."""
        from mlflow.entities import Metric, Param, RunTag

        run = self._client.create_run(self._experiment(experiment), run_name=record.name)
        run_id = str(run.info.run_id)
        started = int(run.info.start_time)
        self._client.log_batch(
            run_id,
            metrics=[Metric(name, value, started, 0) for name, value in record.metrics.items() if value == value],  # noqa: PLR0124 - NaN is not stored
            params=[Param(name, str(value)[:6000]) for name, value in record.params.items()],
            tags=[RunTag(name, str(value)) for name, value in record.tags.items()],
        )
        texts = {name: text.encode() for name, text in record.texts.items()}
        self._log_files(run_id, texts, None)
        self._client.set_terminated(run_id, _FINISHED)
        return run_id

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Add figures that came later, such as those of the backtest."""
        from mlflow.entities import Metric

        started = int(self._client.get_run(run_id).info.start_time)
        known = [Metric(name, value, started, 0) for name, value in metrics.items() if value == value]  # noqa: PLR0124 - as above
        self._client.log_batch(run_id, metrics=known)

    def register(self, run_id: str, files: Mapping[str, bytes], *, digest: str, tags: Mapping[str, str], description: str) -> Version:
        """Add a bundle's files to a run and make them a version of the registered model."""
        self._ensure_model()
        folder = f"bundle-{digest[:12]}"
        self._log_files(run_id, files, folder)
        source = f"{self._client.get_run(run_id).info.artifact_uri}/{folder}"
        made = self._client.create_model_version(
            layout.REGISTERED_MODEL,
            source=source,
            run_id=run_id,
            tags={**tags, "bundle_digest": digest},
            description=description,
            await_creation_for=0,
        )
        return _version(made)

    def set_alias(self, alias: str, version: str) -> None:
        """Point an alias at a version."""
        self._client.set_registered_model_alias(layout.REGISTERED_MODEL, alias, version)

    def by_alias(self, alias: str) -> Version | None:
        """The version an alias points at, or None."""
        from mlflow.exceptions import MlflowException

        try:
            return _version(self._client.get_model_version_by_alias(layout.REGISTERED_MODEL, alias))
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            message = f"the model registry cannot be read: {error.message}"
            raise ModelUnavailable(message, mend="check that data/mlflow.db exists and is writable") from error

    def by_digest(self, digest: str) -> Version | None:
        """The version that holds a bundle already: the same bundle is not registered twice."""
        self._ensure_model()
        found = self._client.search_model_versions(f"name = '{layout.REGISTERED_MODEL}' and tags.bundle_digest = '{digest}'")
        return _version(found[0]) if found else None

    def bundle_files(self, version: Version) -> dict[str, bytes]:
        """The files of a version's bundle."""
        folder = Path(version.source.removeprefix("file://"))
        if not folder.is_dir():
            message = f"files of version {version.version} are gone from the artifact folder"
            raise ModelUnavailable(message, mend="restore mlruns/ together with data/mlflow.db from the same backup")
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = (self._artifacts / name).resolve()
        location.mkdir(parents=True, exist_ok=True)
        return str(self._client.create_experiment(name, artifact_location=location.as_uri()))

    def _ensure_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(layout.REGISTERED_MODEL, description=MODEL_DESCRIPTION)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _log_files(self, run_id: str, files: Mapping[str, bytes], folder: str | None) -> None:
        with tempfile.TemporaryDirectory(prefix="hedgefund-") as temporary:
            for name, content in files.items():
                (Path(temporary) / name).write_bytes(content)
            self._client.log_artifacts(run_id, temporary, folder)


def _version(made: ModelVersion) -> Version:
    return Version(version=str(made.version), run_id=str(made.run_id or ""), source=str(made.source), tags=dict(made.tags))


class ModelRegistryResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The registry as a Dagster resource; empty fields mean the environment's folders, and SQLite under the data folder."""

    data_dir: str = ""
    mlruns_dir: str = ""
    tracking_uri: str = ""

    def open(self) -> ModelRegistry:
        """The registry itself."""
        data = Path(self.data_dir) if self.data_dir else data_folder(os.environ)
        artifacts = Path(self.mlruns_dir) if self.mlruns_dir else mlruns_folder(os.environ)
        return ModelRegistry(self.tracking_uri or f"sqlite:///{(data / layout.MLFLOW_DB).resolve()}", artifacts)
