"""The newest signed head of each journal, kept beside the key and outside the data folder.

Heads inside the journal file fall with it: who cuts off the end can delete them too. This one stays, so that a journal that was
cut, re-hashed or replaced is noticed. A journal is known by the hash of its first entry: an account that was deleted and opened
anew is another journal, and says so.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from hedgefund_core.errors import JournalError
from live_executor.journals.chain import SignedHead
from live_executor.ports import UNREADABLE

FOLDER = "heads"


def identity(first_hash: bytes) -> str:
    """Name of a journal: the first 16 hex digits of the hash of its first entry."""
    return first_hash.hex()[:16]


def keep(keys_folder: Path, account: str, journal: str, head: SignedHead) -> None:
    """Put a head in the place of the one before, atomically and durably; raises OSError where the folder cannot be written."""
    path = _path(keys_folder, account, journal)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("wb") as file:
        file.write(msgspec.json.encode(head))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def kept(keys_folder: Path, account: str, journal: str) -> SignedHead | None:
    """The newest head of a journal that was kept here; raises JournalError where the file is not one."""
    path = _path(keys_folder, account, journal)
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=SignedHead)
    except UNREADABLE as error:
        raise JournalError(f"{path} is no signed head: {error}", mend=f"restore {path} from a backup, or remove it knowingly") from error


def put_back(keys_folder: Path, account: str, journal: str, head: SignedHead | None, aside: Path | None) -> None:
    """An older copy was put in place by a person: its own newest head counts from now on, the one before lies with what was moved aside."""
    path = _path(keys_folder, account, journal)
    if path.exists() and aside is not None:
        shutil.copy(path, aside / "head.json")
    if head is None:
        path.unlink(missing_ok=True)
    else:
        keep(keys_folder, account, journal, head)


def others(keys_folder: Path, account: str, journal: str) -> tuple[str, ...]:
    """Names of other journals that this account once had."""
    prefix = f"{account}."
    names = (path.name[len(prefix) : -len(".json")] for path in (keys_folder / FOLDER).glob(f"{prefix}*.json"))
    return tuple(sorted(name for name in names if name != journal))


def _path(keys_folder: Path, account: str, journal: str) -> Path:
    return keys_folder / FOLDER / f"{account}.{journal}.json"
