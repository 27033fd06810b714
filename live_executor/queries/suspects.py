"""Bundles as they lie in an account's folder, with what is wrong with them: what can still be compared is not refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from hedgefund_core.bundle import MANIFEST, Bundle, read_bundle, read_manifest, sha256, signed_payload
from hedgefund_core.errors import ModelUnavailable
from hedgefund_core.layout import bundle_folder
from live_executor.models.mlflow_registry import FILES
from live_executor.models.trust import trusted_verifier
from live_executor.settings import Settings

SuspectReader = Callable[[str], tuple[Bundle, str]]
"""Digest -> the bundle as it lies in the account's folder and what is wrong with it ("" = nothing)."""


def suspect_reader(settings: Settings, account: str) -> SuspectReader:
    """A reader of an account's bundles; it raises ModelUnavailable or ModelMismatch where nothing usable lies there."""
    verify = trusted_verifier(settings.keys)

    def read(digest: str) -> tuple[Bundle, str]:
        folder = settings.data / bundle_folder(account, digest)
        if not folder.is_dir():
            raise ModelUnavailable(f"bundle {digest[:12]} is not under {folder.parent}")
        files = {name: (folder / name).read_bytes() for name in FILES if (folder / name).is_file()}
        bundle = read_bundle(files, lambda _key, _payload, _signature: True)
        manifest = read_manifest(files[MANIFEST])
        fault = ""
        if sha256(files[MANIFEST]) != digest:
            fault = f"bundle {digest[:12]} was changed after it was used"
        if not verify(manifest.key_id, signed_payload(manifest), manifest.signature):
            fault = f"{fault or f'bundle {digest[:12]}'}: no trusted key signed it"
        return dataclasses.replace(bundle, digest=digest), fault

    return read
