"""A panel as bytes: one inert, byte-stable npz that both shells read (no pickle, numpy only).

The same panel gives the same bytes on every machine, so its sha256 is its data version.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import FIELDS, KnownAtBasis, Panel, PriceKind

_GRIDS = (*FIELDS, "dividends", "split_ratios", "benchmark", "known_at", "close_at")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Arrays as an uncompressed npz whose bytes depend on nothing but names and values."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH), member.getvalue())
    return buffer.getvalue()


def unpack_arrays(content: bytes, name: str = "the bytes") -> dict[str, NDArray[np.generic]]:
    """Arrays of an npz; raises DataInvalid, naming the file, if the bytes are not one."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        message = f"{name}: not a readable array file: {error}"
        raise DataInvalid(message, mend="materialize the panel again") from error


def pack_panel(panel: Panel) -> bytes:
    """The panel as npz bytes; ``data_version`` is left out, because it is a digest of these bytes."""
    arrays: dict[str, NDArray[np.generic]] = {"sessions": panel.sessions, "symbols": np.array(panel.symbols, dtype=np.str_)}
    for name in _GRIDS:
        values = getattr(panel, name)
        if values is not None:
            arrays[name] = values
    facts = {
        "benchmark_name": panel.benchmark_name,
        "currency": panel.currency,
        "known_at_basis": panel.known_at_basis.value,
        "price_kind": panel.price_kind.value,
        "sessions_per_year": panel.sessions_per_year,
        "source": panel.source,
        "tick": panel.tick,
    }
    arrays["facts"] = np.frombuffer(json.dumps(facts, sort_keys=True).encode(), dtype=np.uint8)
    return pack_arrays(arrays)


def data_version(content: bytes) -> str:
    """Digest that names the content of a packed panel."""
    return hashlib.sha256(content).hexdigest()


def unpack_panel(content: bytes, name: str = "the panel") -> Panel:
    """The panel of `pack_panel`'s bytes, with ``data_version`` set to their sha256; raises DataInvalid, naming the file, if damaged."""
    arrays = unpack_arrays(content, name)
    try:
        facts = json.loads(arrays["facts"].tobytes())
        panel = Panel(
            sessions=arrays["sessions"].astype("datetime64[D]"),
            symbols=tuple(str(symbol) for symbol in arrays["symbols"]),
            price_kind=PriceKind(facts["price_kind"]),
            close=arrays["close"].astype(np.float64),
            known_at_basis=KnownAtBasis(facts["known_at_basis"]),
            benchmark_name=str(facts["benchmark_name"]),
            currency=str(facts["currency"]),
            sessions_per_year=float(facts["sessions_per_year"]),
            source=str(facts["source"]),
            tick=None if facts["tick"] is None else float(facts["tick"]),
        )
    except (KeyError, ValueError) as error:
        message = f"{name} lacks or garbles {error}"
        raise DataInvalid(message, mend="materialize the panel again") from error
    optional = {name: arrays[name] for name in _GRIDS if name != "close" and name in arrays}
    return replace(panel, data_version=data_version(content), **optional)  # type: ignore[arg-type]
