"""The only importer of MLflow in the executor: a child process that resolves an alias, copies files, and ends.

``python -m live_executor.models.mlflow_registry --alias champion --into DIR``. It copies bytes and judges nothing:
whether they may trade is decided by ``loader`` from their signature and verdict. Exit 7 where there is no such version.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

import msgspec

from hedgefund_core.bundle import GOLDEN, MANIFEST, MODEL
from hedgefund_core.errors import ModelUnavailable
from hedgefund_core.layout import MLFLOW_DB, REGISTERED_MODEL

VERSION_FILE = "version.json"


class RegisteredVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Which version a folder of bundle files is a copy of."""

    name: str
    version: str
    alias: str


def copy_version(database: Path, alias: str, into: Path) -> RegisteredVersion:
    """Copy the files of the version that carries ``alias``; raises ModelUnavailable."""
    if not database.is_file():
        message = f"there is no model registry at {database}"
        raise ModelUnavailable(message)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when MLflow is imported
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    address = f"sqlite:///{database.resolve()}"
    try:
        found = MlflowClient(tracking_uri=address, registry_uri=address).get_model_version_by_alias(REGISTERED_MODEL, alias)
    except MlflowException as error:
        message = f"no version of {REGISTERED_MODEL} carries the alias {alias}: {error.message}"
        raise ModelUnavailable(message) from error
    source = Path(str(found.source).removeprefix("file://"))
    missing = [name for name in (MANIFEST, MODEL, GOLDEN) if not (source / name).is_file()]
    if missing:
        message = f"version {found.version} of {REGISTERED_MODEL} lacks {', '.join(missing)}"
        raise ModelUnavailable(message)
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for name in (MANIFEST, MODEL, GOLDEN):
        shutil.copyfile(source / name, into / name)
    registered = RegisteredVersion(name=REGISTERED_MODEL, version=str(found.version), alias=alias)
    (into / VERSION_FILE).write_bytes(msgspec.json.encode(registered))
    return registered


def main() -> int:
    """Entry of the child process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--into", type=Path, required=True)
    given = parser.parse_args()
    try:
        copy_version(Path(os.environ.get("HEDGEFUND_DATA_DIR", "data")) / MLFLOW_DB, given.alias, given.into)
    except ModelUnavailable as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
