"""The journal's signing key: Ed25519, 0600, in the configuration folder and never in the data folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hedgefund_core.errors import ConfigError
from live_executor.journals.chain import SignedHead

KEY_FILE = "journal.key"
PUBLIC_FILE = "journal.pub"


def key_id(public: Ed25519PublicKey) -> str:
    """Name of a public key: the first 16 hex digits of its sha256."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


def load_or_create(folder: Path) -> Ed25519PrivateKey:
    """The key of ``folder``, made with mode 0600 where there is none yet."""
    path = folder / KEY_FILE
    if not path.exists():
        _create(folder, path)
    return _private(path)


def _private(path: Path) -> Ed25519PrivateKey:
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path} can be read by others", mend=f"chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise ConfigError(
            f"{path} is not a private key: {error}", mend=f"move {path} away: a new key is made, old heads stay unverified"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} is not an Ed25519 key", mend=f"move {path} away: a new key is made")
    return key


def _create(folder: Path, path: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / PUBLIC_FILE).write_bytes(public)
    # written beside and linked: of two processes that start at once, one makes the key and both use it
    fresh = folder / f".{KEY_FILE}.{os.getpid()}"
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(private)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)
    except FileExistsError:
        winner = serialization.load_pem_private_key(path.read_bytes(), password=None)
        (folder / PUBLIC_FILE).write_bytes(
            winner.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    finally:
        fresh.unlink()


def load_public(folder: Path) -> Ed25519PublicKey | None:
    """The journal's public key, from the private one where its file is lost; None where there is neither."""
    path, private = folder / PUBLIC_FILE, folder / KEY_FILE
    if not path.exists():
        return _private(private).public_key() if private.exists() else None
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path} is not a public key: {error}", mend=f"restore {path} from a backup") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} is not an Ed25519 key", mend=f"restore {path} from a backup")
    return key


def is_genuine(public: Ed25519PublicKey | None, head: SignedHead) -> bool:
    """Whether ``head`` was signed by the owner of ``public``."""
    if public is None or head.key_id != key_id(public):
        return False
    try:
        public.verify(head.signature, head.signed_bytes)
    except InvalidSignature:
        return False
    return True
