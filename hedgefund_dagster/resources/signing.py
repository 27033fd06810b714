"""Ed25519 signatures of bundles. The private key stays in ``<config>/keys/promotion.key`` (0600); the executor trusts ``*.pub`` there.

Format: keys as PEM; ``key_id`` is the first 16 hexadecimal digits of the sha256 of the 32 public bytes; signatures are base64.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hedgefund_core.errors import ConfigError

PRIVATE, PUBLIC = "promotion.key", "promotion.pub"
_MODE = 0o600


def key_id(public: Ed25519PublicKey) -> str:
    """Short name of a key, the same wherever the key lies."""
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Signs with the promotion key."""

    private: Ed25519PrivateKey

    @property
    def key_id(self) -> str:
        """Name of the key, stored in the manifest before it is signed."""
        return key_id(self.private.public_key())

    def sign(self, payload: bytes) -> str:
        """Signature in base64."""
        return base64.b64encode(self.private.sign(payload)).decode()


def open_signer(keys: Path) -> Signer:
    """The signer of a keys folder; makes the key where there is none (contracts: `promote` creates the key).

    Raises
    ------
    ConfigError : the file is no Ed25519 key, or others than its owner may read it.
    """
    path = keys / PRIVATE
    if not path.exists():
        _create(keys)
    if path.stat().st_mode & 0o077:
        message = f"{path.name} may be read by others than its owner"
        raise ConfigError(message, mend=f"chmod 600 {path}")
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        message = f"{path.name} is not an Ed25519 key: {error}"
        raise ConfigError(message, mend=f"restore {path} from your backup, or move it away: the next promotion makes a new one") from error
    if not isinstance(private, Ed25519PrivateKey):
        message = f"{path.name} is not an Ed25519 key"
        raise ConfigError(message, mend=f"move {path} away: the next promotion makes a new one")
    return Signer(private=private)


def verify(keys: Path, name: str, payload: bytes, signature: str) -> bool:
    """Whether one of the public keys in the folder, called ``name``, signed the payload."""
    for path in sorted(keys.glob("*.pub")):
        public = serialization.load_pem_public_key(path.read_bytes())
        if isinstance(public, Ed25519PublicKey) and key_id(public) == name:
            try:
                public.verify(base64.b64decode(signature, validate=True), payload)
            except (InvalidSignature, ValueError):
                return False
            return True
    return False


def _create(keys: Path) -> None:
    keys.mkdir(parents=True, exist_ok=True)
    private = Ed25519PrivateKey.generate()
    secret = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (keys / PUBLIC).write_bytes(public)
    descriptor = os.open(keys / PRIVATE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(secret)
        stream.flush()
        os.fsync(stream.fileno())
