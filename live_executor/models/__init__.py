"""Where a model comes from: MODEL_SOURCES. Each gives a folder with a bundle's files; ``loader`` decides whether it may trade."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from live_executor.ports import ModelSource


def _mlflow(data: Path, folder: Path | None) -> ModelSource:
    from live_executor.models.mlflow_source import MlflowSource

    return MlflowSource(data, folder)


def _folder(data: Path, folder: Path | None) -> ModelSource:
    from live_executor.models.bundle_folder import BundleFolder

    return BundleFolder(data, folder)


MODEL_SOURCES: dict[str, Callable[[Path, Path | None], ModelSource]] = {
    "mlflow": _mlflow,
    "folder": _folder,
}
"""name -> factory of (data folder, bundle folder if one was given)."""
