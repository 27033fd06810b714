"""A model bundle: what a promoted model is made of, and how it is refused.

A bundle is a folder of three inert files. ``manifest.json`` names everything the model depends on and the sha256 of the
other two; ``model.npz`` holds plain arrays; ``golden.npz`` holds feature rows with the scores the model gave them at
training. Nothing in it is code and nothing is unpickled. Reading is pure: bytes in, a bundle or ``ModelMismatch`` out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid, HedgefundError, ModelMismatch, ModelOutdated
from hedgefund_core.quant.features import FeatureSpec, code_digest, max_warm_up
from hedgefund_core.quant.models.model import ScoreModel, load_model
from hedgefund_core.quant.panel_codec import pack_arrays, unpack_arrays

SCHEMA = 1
MANIFEST, MODEL, GOLDEN = "manifest.json", "model.npz", "golden.npz"
_MEND = "promote the model again: the last good bundle stays in use"

Verify = Callable[[str, bytes, str], bool]
"""(key_id, payload, signature) -> whether a trusted key signed the payload."""


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An unknown field is a format we do not know."""


class GateCheck(_Strict, frozen=True, kw_only=True):
    """One check of the gate, as signed."""

    value: float | None
    limit: float | None
    passed: bool
    hard: bool = True
    note: str = ""


class GateRecord(_Strict, frozen=True, kw_only=True):
    """The gate's verdict, or a person's signed override of it with reason and expiry (ISO date)."""

    kind: str
    """bootstrap, strategy_approval, refit or override"""
    passed: bool
    checks: dict[str, GateCheck] = {}
    person: str = ""
    reason: str = ""
    expires: str = ""


class SignalContract(_Strict, frozen=True, kw_only=True):
    """What scores must look like to be traded on."""

    min_coverage: float
    max_abs_score: float


class Manifest(_Strict, frozen=True, kw_only=True):
    """Everything a model owns."""

    schema: int
    name: str
    kind: str
    features: tuple[FeatureSpec, ...]
    columns: tuple[str, ...]
    code_digest: str
    universe: tuple[str, ...]
    calendar: str
    price_kind: str
    source: str
    trained_from: str
    trained_through: str
    expires_after_days: int
    signal_contract: SignalContract
    mandate: str
    data_versions: dict[str, str]
    mlflow_run_id: str
    dagster_run_id: str
    gate: GateRecord
    files: dict[str, str] = {}
    key_id: str = ""
    signature: str = ""

    @property
    def warm_up(self) -> int:
        """Sessions of history the features need."""
        return max_warm_up(self.features)

    def age_days(self, on: date) -> int:
        """Days from the end of training to ``on``."""
        return (on - date.fromisoformat(self.trained_through)).days

    def expires_on(self) -> date:
        """Last day on which the model may take new exposure: its own, or that of the override that admitted it if it is sooner."""
        own = date.fromisoformat(self.trained_through) + timedelta(days=self.expires_after_days)
        override = self.gate.kind == "override" and bool(self.gate.expires)
        return min(own, date.fromisoformat(self.gate.expires)) if override else own

    @property
    def admitted_days(self) -> int:
        """Age in days up to which the model may take new exposure."""
        return self.age_days(self.expires_on())


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified bundle, ready to score."""

    manifest: Manifest
    digest: str
    model: ScoreModel


def sha256(content: bytes) -> str:
    """Hexadecimal sha256."""
    return hashlib.sha256(content).hexdigest()


def signed_payload(manifest: Manifest) -> bytes:
    """The bytes that are signed: the manifest without its signature, in canonical order."""
    return msgspec.json.encode(msgspec.structs.replace(manifest, signature=""), order="sorted")


def manifest_bytes(manifest: Manifest) -> bytes:
    """The manifest as stored: readable, byte-stable."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def with_files(manifest: Manifest, model: ScoreModel, golden_features: NDArray[np.float64]) -> tuple[Manifest, dict[str, bytes]]:
    """Pack the model and its golden vectors; the manifest comes back with their sha256s, still unsigned.

    ``golden_features`` is float64 (n, k): one real cross-section. NaN is allowed where a feature was absent.
    """
    scores = model.score(golden_features, np.ones(len(golden_features), dtype=np.bool_))
    files = {
        MODEL: pack_arrays(model.to_arrays()),
        GOLDEN: pack_arrays({"features": golden_features, "scores": scores}),
    }
    digests = {name: sha256(content) for name, content in files.items()}
    return msgspec.structs.replace(manifest, files=digests), files


def read_manifest(content: bytes) -> Manifest:
    """Decode a manifest; raises ModelMismatch where it is not one of this schema."""
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"{MANIFEST} is not a bundle manifest: {error}"
        raise ModelMismatch(message, mend=_MEND) from error
    if manifest.schema != SCHEMA:
        message = f"bundle schema {manifest.schema} is not {SCHEMA}"
        raise ModelMismatch(message, mend=_MEND)
    try:
        manifest.expires_on()
    except (ValueError, OverflowError) as error:
        message = f"bundle {manifest.name}: a date is none: {error}"
        raise ModelMismatch(message, mend=_MEND) from error
    return manifest


def read_bundle(files: Mapping[str, bytes], verify: Verify) -> Bundle:
    """Check signature, sha256s, code digest and golden vectors, then build the model.

    Raises
    ------
    ModelMismatch : naming what differs. Nothing of a refused bundle is used.
    """
    manifest = read_manifest(files.get(MANIFEST, b""))
    if not manifest.key_id or not verify(manifest.key_id, signed_payload(manifest), manifest.signature):
        message = f"bundle {manifest.name} is not signed by a trusted key (key {manifest.key_id or 'none'})"
        raise ModelMismatch(message, mend=_MEND)
    if files[MANIFEST] != manifest_bytes(manifest):  # the digest names these bytes: one content, one digest
        message = f"bundle {manifest.name}: {MANIFEST} is not written as it was signed"
        raise ModelMismatch(message, mend=_MEND)
    if set(manifest.files) != {MODEL, GOLDEN}:
        message = f"bundle {manifest.name} vouches for other files than {MODEL} and {GOLDEN}"
        raise ModelMismatch(message, mend=_MEND)
    for name in (MODEL, GOLDEN):
        if manifest.files.get(name) != sha256(files.get(name, b"")):
            message = f"bundle {manifest.name}: {name} is not the file that was signed"
            raise ModelMismatch(message, mend=_MEND)
    if manifest.columns != tuple(spec.name for spec in manifest.features):
        message = f"bundle {manifest.name}: columns are not its features in their order"
        raise ModelMismatch(message, mend=_MEND)
    if manifest.code_digest != _own_code_digest(manifest):
        message = f"bundle {manifest.name} was trained with other feature code than this program has"
        raise ModelOutdated(message, mend="train and promote the model again with this code")
    try:
        model = load_model(manifest.kind, unpack_arrays(files[MODEL]), manifest.columns)
        golden = unpack_arrays(files[GOLDEN])
    except DataInvalid as error:
        raise ModelMismatch(error.message, mend=_MEND) from error
    _check_golden(manifest, model, golden)
    return Bundle(manifest=manifest, digest=sha256(files[MANIFEST]), model=model)


def _own_code_digest(manifest: Manifest) -> str:
    """Digest of this program's code for the features; a feature it does not have has none."""
    try:
        return code_digest(manifest.features)
    except HedgefundError as error:
        raise ModelOutdated(error.message, mend="train and promote the model again with this code") from error


def _check_golden(manifest: Manifest, model: ScoreModel, golden: Mapping[str, NDArray[np.generic]]) -> None:
    if set(golden) != {"features", "scores"} or golden["features"].shape[1:] != (len(manifest.columns),):
        message = f"bundle {manifest.name}: golden vectors do not fit the columns"
        raise ModelMismatch(message, mend=_MEND)
    try:
        features, expected = (np.asarray(golden[name], dtype=np.float64) for name in ("features", "scores"))
    except ValueError as error:
        message = f"bundle {manifest.name}: golden vectors are no numbers"
        raise ModelMismatch(message, mend=_MEND) from error
    scores = model.score(features, np.ones(len(features), dtype=np.bool_))
    if not np.isfinite(expected).any():
        message = f"bundle {manifest.name}: its golden vectors prove nothing, no score is given"
        raise ModelMismatch(message, mend=_MEND)
    if not np.array_equal(scores, expected, equal_nan=True):
        message = f"bundle {manifest.name}: the model does not give its golden scores on this machine"
        raise ModelMismatch(message, mend=_MEND)


def gate_admits(manifest: Manifest, on: date) -> bool:
    """Whether the signed verdict lets the bundle trade on ``on``: passed, or an override that names person, reason and expiry."""
    gate = manifest.gate
    if gate.kind == "override":
        return bool(gate.person and gate.reason and gate.expires) and on <= date.fromisoformat(gate.expires)
    return gate.passed
