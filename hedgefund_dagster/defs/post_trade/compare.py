"""An account's journal against the backtest of its sessions, on the lake's bars as they are now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hedgefund_core import layout
from hedgefund_core.backtest.parity import BundleAtHand, Parity, parity
from hedgefund_core.bundle import GOLDEN, MANIFEST, MODEL, Bundle, read_bundle, sha256
from hedgefund_core.errors import DataUnavailable, ModelMismatch
from hedgefund_core.quant.bars import Panel
from hedgefund_core.trading.events import AccountOpened
from hedgefund_dagster.resources.journal_reader import JournalReader
from hedgefund_dagster.resources.lake import Lake


def compared(reader: JournalReader, lake: Lake, account: str) -> Parity:
    """The comparison; raises DataUnavailable for an account without a journal."""
    opened = next((stored.frame for stored in reader.frames(account)), None)
    source = opened.source if isinstance(opened, AccountOpened) else ""
    frames = (stored.frame for stored in reader.frames(account))
    return parity(frames, _panel(lake, source), bundles_of(Path(str(lake.root)), account))


def bundles_of(root: Path, account: str) -> BundleAtHand:
    """The account's kept bundles. The journaled digest vouches for each: whoever signed it was asked when it was admitted."""

    def at_hand(digest: str) -> tuple[Bundle | None, str]:
        folder = root / layout.bundle_folder(account, digest)
        files = {name: (folder / name).read_bytes() for name in (MANIFEST, MODEL, GOLDEN) if (folder / name).is_file()}
        if MANIFEST not in files:
            return None, f"bundle {digest[:12]} is not there"
        try:
            bundle = read_bundle(files, lambda _key, _payload, _signature: True)
        except ModelMismatch as error:
            return None, error.message
        fault = "" if sha256(files[MANIFEST]) == digest else f"bundle {digest[:12]} was changed after it was used"
        return replace(bundle, digest=digest), fault

    return at_hand


def _panel(lake: Lake, source: str) -> Panel | None:
    try:
        return lake.read_panel(source)
    except DataUnavailable:
        return None
