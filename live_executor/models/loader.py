"""Decides whether a bundle may trade: by its signature, digests, golden vectors, feature code, and the gate's signed verdict.

An admitted bundle is copied to ``live/<account>/bundles/<digest>/`` and kept as long as the journal that used it. If one is refused the
account goes on with the bundle it has.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import msgspec

from hedgefund_core.account import State
from hedgefund_core.bundle import MANIFEST, Bundle, Verify, gate_admits, read_bundle, read_manifest, sha256
from hedgefund_core.errors import ModelMismatch, ModelUnavailable
from hedgefund_core.trading.events import ModelLoaded
from live_executor.logging import logger
from live_executor.models.mlflow_registry import FILES, VERSION_FILE, RegisteredVersion
from live_executor.ports import UNREADABLE

_log = logger("models")


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A bundle that may trade, and which registered version it is."""

    bundle: Bundle
    registered: RegisteredVersion

    def loaded(self, ts: datetime, *, person: str = "", reason: str = "") -> ModelLoaded:
        """The journaled input that makes it the account's model; a person's name and reason where one went back to it."""
        manifest = self.bundle.manifest
        return ModelLoaded(
            ts=ts,
            name=manifest.name,
            version=self.registered.version,
            digest=self.bundle.digest,
            alias=self.registered.alias,
            model_kind=manifest.kind,
            trained_through=manifest.trained_through,
            expires_after_days=manifest.expires_after_days,
            mlflow_run_id=manifest.mlflow_run_id,
            dagster_run_id=manifest.dagster_run_id,
            person=person,
            reason=reason,
        )


def admit(folder: Path, store: Path, verify: Verify, *, on: date, alias: str) -> Admitted:
    """Read, verify and keep a bundle.

    Parameters
    ----------
    folder : where a model source put the files. store : the account's ``bundles`` folder.
    verify : trusted signatures. on : the day on which it is to trade (an override may have expired).

    Raises
    ------
    ModelMismatch : tampered, unsigned, of other code, or refused by the gate; the message names the version.
    """
    files = _files(folder)
    registered = _registered(folder, files[MANIFEST], alias)
    bundle = read_bundle(files, verify)
    if not gate_admits(bundle.manifest, on):
        gate = bundle.manifest.gate
        failed = (
            ", ".join(sorted(name for name, check in gate.checks.items() if check.hard and not check.passed)) or gate.reason or "no verdict"
        )
        message = f"version {registered.version} carries the alias {alias} but its gate verdict does not allow it ({gate.kind}: {failed})"
        raise ModelMismatch(message, mend="move the alias back to a version that passed, or have a person sign an override")
    _keep(files, registered, store / bundle.digest)
    return Admitted(bundle=bundle, registered=registered)


def first_model(newest: Callable[[], Admitted], state: State, *, named: bool = False) -> Admitted | None:
    """What a start trades. A refused alias, or one that is another account's, leaves the last good bundle in use, loudly; None = keep that.

    Parameters
    ----------
    newest : asks what carries the alias. state : the account as its journal has it. named : a person named this very bundle.

    Raises
    ------
    ModelUnavailable, ModelMismatch : there is none to fall back on, or the bundle was named.
    """
    try:
        found = newest()
        if state.bundle is not None:
            _refuse_stranger(found.bundle, state)
    except (ModelUnavailable, ModelMismatch) as error:
        if named or state.bundle is None:
            raise
        _log.error("model refused, the last good one stays in use", reason=error.message, mend=error.mend, kept=state.model_digest[:12])
        return None
    return found


def _refuse_stranger(bundle: Bundle, state: State) -> None:
    source = bundle.manifest.source
    if source != state.source:
        message = f"model {bundle.manifest.name} was trained on {source}, the account trades {state.source}"
        raise ModelMismatch(message, mend="train and promote a model on the source the account trades")


def stored(store: Path, digest: str, verify: Verify) -> Admitted:
    """A bundle that the account has used before, verified again; raises ModelUnavailable or ModelMismatch."""
    folder = store / digest
    if not folder.is_dir():
        message = f"bundle {digest[:12]} is not in {store}"
        raise ModelUnavailable(message, mend="restore the account's bundles folder from a backup")
    files = _files(folder)
    if sha256(files[MANIFEST]) != digest:
        message = f"bundle {digest[:12]} in {store} was changed after it was admitted"
        raise ModelMismatch(message, mend="restore the account's bundles folder from a backup")
    return Admitted(bundle=read_bundle(files, verify), registered=_registered(folder, files[MANIFEST], ""))


def _files(folder: Path) -> dict[str, bytes]:
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        message = f"bundle in {folder} lacks {', '.join(missing)}"
        raise ModelMismatch(message, mend="promote the model again: the last good bundle stays in use")
    return {name: (folder / name).read_bytes() for name in FILES}


def _registered(folder: Path, manifest: bytes, alias: str) -> RegisteredVersion:
    path = folder / VERSION_FILE
    if path.is_file():
        try:
            return msgspec.json.decode(path.read_bytes(), type=RegisteredVersion)
        except UNREADABLE as error:
            message = f"{path} does not say which version the bundle is: {error}"
            raise ModelMismatch(message, mend="promote the model again: the last good bundle stays in use") from error
    return RegisteredVersion(name=read_manifest(manifest).name, version=sha256(manifest)[:12], alias=alias)


def _keep(files: dict[str, bytes], registered: RegisteredVersion, folder: Path) -> None:
    """Write beside and rename: a killed process leaves no half bundle."""
    if folder.is_dir():
        return
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, content in {**files, VERSION_FILE: msgspec.json.encode(registered)}.items():
        (fresh / name).write_bytes(content)
    fresh.rename(folder)
