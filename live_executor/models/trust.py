"""Which signatures the executor believes: those of the public keys in its configuration folder."""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from hedgefund_core.bundle import Verify
from hedgefund_core.errors import ConfigError

_JOURNAL_KEY = "journal.pub"
"""It vouches for journals; whoever holds it may not promote models."""


def trusted_verifier(keys: Path) -> Verify:
    """A verifier over ``keys/*.pub`` (Ed25519, PEM). An empty folder trusts nobody."""
    trusted: dict[str, Ed25519PublicKey] = {}
    for path in sorted(keys.glob("*.pub")):
        if path.name == _JOURNAL_KEY:
            continue
        try:
            public = load_pem_public_key(path.read_bytes())
        except ValueError as error:
            message = f"{path} is not a public key: {error}"
            raise ConfigError(message, mend=f"restore {path} from a backup, or remove it") from error
        if isinstance(public, Ed25519PublicKey):
            trusted[hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]] = public

    def verify(key_id: str, payload: bytes, signature: str) -> bool:
        public = trusted.get(key_id)
        if public is None:
            return False
        try:
            public.verify(base64.b64decode(signature, validate=True), payload)
        except (InvalidSignature, binascii.Error):
            return False
        return True

    return verify
