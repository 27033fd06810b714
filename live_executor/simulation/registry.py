"""The registry of a simulated world: a few versions of a model, signed and packed as promoted ones are, and an alias that people move.

What may trade is decided by the product's own loader. The registry can be away or slow; some versions must not trade; the account's
folder of bundles can become unreadable for a while.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import numpy as np

from hedgefund_core import bundle as b
from hedgefund_core.account import State
from hedgefund_core.bundle import Bundle
from hedgefund_core.errors import ModelUnavailable
from hedgefund_core.quant.bars import Panel
from hedgefund_core.quant.features import code_digest, compute_features, resolve
from hedgefund_core.quant.models import single_feature_rule
from live_executor.models.loader import Admitted, admit, first_model, stored
from live_executor.models.mlflow_registry import VERSION_FILE, RegisteredVersion
from live_executor.models.trust import trusted_verifier

ALIAS = "champion"
_MEND = "wait: the registry of a simulation comes back by itself"
_QUICK, _SLOW = (0.02, 0.3), (1.0, 4.0)
_YEAR = 365


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the registered model."""

    feature: str = "reversal_5"
    days: int = _YEAR
    """Until it expires, counted from the first session."""
    passed: bool = True
    """What the gate said."""
    damaged: bool = False
    source: str = ""
    """Another one than the account's."""


VERSIONS = {
    "1": Version(),
    "2": Version(feature="reversal_21"),
    "3": Version(feature="volatility_21", passed=False),
    "4": Version(feature="volume_z_21", days=1),
    "5": Version(feature="rsi_14", damaged=True),
    "6": Version(feature="bollinger_z_20", source="elsewhere"),
}
"""Two that may trade, one that may until the second day, and three that are refused: by the gate, by their digest, by the account."""


class Registry:
    """Versions, the alias, and the account's folder of bundles."""

    def __init__(self, folder: Path, panel: Panel, mandate: str, today: Callable[[], date], rng: random.Random) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._folder, self._panel, self._mandate, self._today, self._rng = folder, panel, mandate, today, rng
        self._key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"a simulation's promotions").digest())
        keys = folder / "keys"
        keys.mkdir(parents=True)
        encoding, shape = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        (keys / "promotion.pub").write_bytes(self._key.public_key().public_bytes(encoding, shape))
        self._verify, self._store = trusted_verifier(keys), folder / "bundles"
        self._first = today()
        self._digests = dict[str, str]()
        self.alias = "1"
        self.away = self.slow = self.lost = False

    # ---- what a process asks -----------------------------------------------------------------------------------------

    async def ask(self) -> str:
        """Digest of the version that carried the alias when it was asked."""
        asked = self.alias
        await asyncio.sleep(self._rng.uniform(*(_SLOW if self.slow else _QUICK)))
        return self._admitted(asked).bundle.digest

    def first(self, state: State) -> Admitted | None:
        """What a start finds behind the alias, as `executor run` looks for it."""
        return first_model(lambda: self._admitted(self.alias), state)

    def read(self, digest: str) -> Admitted:
        """A bundle that was kept."""
        if self.lost:
            message = f"bundle {digest[:12]} cannot be read: input/output error"
            raise ModelUnavailable(message, mend=_MEND)
        return stored(self._store, digest, self._verify)

    def bundle_of(self, digest: str) -> Bundle:
        """The same, for a journal that is folded."""
        return self.read(digest).bundle

    def version_of(self, digest: str) -> Version | None:
        """Which one it is, in case it was ever admitted."""
        return next((VERSIONS[name] for name, known in self._digests.items() if known == digest), None)

    def wanted(self) -> str:
        """Digest of what carries the alias now and may trade on the account; empty where nothing does."""
        version = VERSIONS[self.alias]
        return "" if version.source or version.damaged or not version.passed else self._admitted(self.alias).bundle.digest

    def _admitted(self, version: str) -> Admitted:
        if self.away:
            raise ModelUnavailable("the registry does not answer", mend=_MEND)
        known = self._digests.get(version)
        if known is not None and not self.lost:
            return stored(self._store, known, self._verify)
        found = admit(self._version_folder(version), self._store, self._verify, on=self._today(), alias=ALIAS)
        self._digests[version] = found.bundle.digest
        return found

    # ---- the versions ------------------------------------------------------------------------------------------------

    def _version_folder(self, name: str) -> Path:
        """The files of a version, made when somebody asks for it first."""
        folder = self._folder / "registry" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            for file, content in self._files(VERSIONS[name]).items():
                (folder / file).write_bytes(content)
            registered = RegisteredVersion(name="simulated", version=name, alias=ALIAS)
            (folder / VERSION_FILE).write_bytes(msgspec.json.encode(registered))
        return folder

    def _files(self, version: Version) -> dict[str, bytes]:
        features = compute_features(self._panel, [version.feature])
        manifest, files = b.with_files(self._manifest(version), single_feature_rule(version.feature), features.values[-1])
        name = hashlib.sha256(self._key.public_key().public_bytes_raw()).hexdigest()[:16]
        named = msgspec.structs.replace(manifest, key_id=name)
        signature = base64.b64encode(self._key.sign(b.signed_payload(named))).decode()
        signed = msgspec.structs.replace(named, signature=signature)
        if version.damaged:
            files[b.MODEL] = files[b.MODEL][:-1]
        return {**files, b.MANIFEST: b.manifest_bytes(signed)}

    def _manifest(self, version: Version) -> b.Manifest:
        panel, specs = self._panel, tuple(resolve([version.feature]))
        through = panel.sessions[-1]
        expires = int((np.datetime64(self._first, "D") + np.timedelta64(version.days, "D") - through).astype(int))
        return b.Manifest(
            schema=b.SCHEMA, name="simulated", kind="rule", features=specs, columns=(version.feature,), code_digest=code_digest(specs),
            universe=panel.symbols, calendar="observed", price_kind=panel.price_kind.value, source=version.source or panel.source,
            trained_from=str(panel.sessions[0]), trained_through=str(through), expires_after_days=expires,
            signal_contract=b.SignalContract(min_coverage=0.5, max_abs_score=1e6), mandate=self._mandate,
            data_versions={panel.source: panel.data_version}, mlflow_run_id="run", dagster_run_id="dagster",
            gate=b.GateRecord(kind="bootstrap", passed=version.passed),
        )  # fmt: skip
