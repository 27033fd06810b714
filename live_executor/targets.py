"""A file of targets instead of a model: weights of equity or signed share quantities by symbol, watched for changes.

JSON ``{"AAPL": 0.1}``, ``{"weights": {…}, "quantities": {…}}`` or ``[{"symbol": …, "weight" | "quantity": …}]``; CSV
``symbol,weight|quantity``. A name that the file does not have is left alone; 0 exits.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NoReturn

import msgspec

from hedgefund_core.errors import DataInvalid
from hedgefund_core.identifiers import is_symbol

_LARGEST = 1 << 20
_MOST = Decimal(10**12)
_FORMS = 'write {"AAPL": 0.1}, {"quantities": {"AAPL": 100}}, [{"symbol": "AAPL", "weight": 0.1}], or CSV with symbol,weight|quantity'
_WEIGHT, _QUANTITY = "weight", "quantity"


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """What a file asks for, by symbol."""

    weights: dict[str, Decimal] = {}
    quantities: dict[str, Decimal] = {}
    origin: str = ""
    """sha256 and name of the file."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every name in it."""
        return tuple(sorted({*self.weights, *self.quantities}))


class TargetsFile:
    """A file read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    def changed(self) -> Targets | None:
        """Its targets if it is another file than the last time it was looked at, else None; raises DataInvalid."""
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._stamp:
                return None
            self._stamp = stamp
            content = self._path.read_bytes() if stat.st_size <= _LARGEST else None
        except OSError as error:
            if self._stamp == (0, 0, 0):
                return None
            self._stamp = (0, 0, 0)
            raise DataInvalid(
                f"{self._path}: {error.strerror}", mend="write the file of targets, or name another with --targets"
            ) from error
        if content is None:
            raise DataInvalid(f"{self._path} has more than {_LARGEST} bytes: it is no file of targets", mend=_FORMS)
        origin = f"{hashlib.sha256(content).hexdigest()} {self._path.resolve()}"
        return msgspec.structs.replace(read_targets(content, str(self._path)), origin=origin)

    def look_again(self) -> None:
        """Take the file as changed at the next look: it may have been read while it was written."""
        self._stamp = None


def read_targets(content: bytes, name: str) -> Targets:
    """Targets of a file's content; raises DataInvalid naming file, key and value."""
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DataInvalid(f"{name} is not text: {error}", mend=_FORMS) from error
    if not text:
        raise DataInvalid(f"{name} is empty", mend=_FORMS + "; {} for no targets at all")
    try:
        rows = _json_rows(text, name) if text[0] in "{[" else _csv_rows(text, name)
    except csv.Error as error:  # a zero byte, a field without end
        raise DataInvalid(f"{name} is no table of symbols: {error}", mend=_FORMS) from error
    weights, quantities = dict[str, Decimal](), dict[str, Decimal]()
    for symbol, kind, value in rows:
        if not isinstance(symbol, str) or not is_symbol(symbol):
            _refuse(name, str(symbol), "is not a symbol (upper case letters, digits and . - / ^ _)")
        if symbol in weights or symbol in quantities:
            _refuse(name, symbol, "stands there twice")
        (weights if kind == _WEIGHT else quantities)[symbol] = _number(name, symbol, kind, value)
    return Targets(weights=weights, quantities=quantities)


Row = tuple[object, str, object]


def _json_rows(text: str, name: str) -> Iterable[Row]:
    content = _decoded(text, name)
    if isinstance(content, list):
        return [_listed(row, place, name) for place, row in enumerate(content)]
    sections = {"weights": _WEIGHT, "quantities": _QUANTITY}
    if content and set(content) <= set(sections):
        found: list[Row] = []
        for section, below in content.items():
            if not isinstance(below, dict):
                _refuse(name, section, f"is {below!r}, and must be an object of symbols")
            found += [(symbol, sections[section], value) for symbol, value in below.items()]
        return found
    return [(symbol, _WEIGHT, value) for symbol, value in content.items()]


def _decoded(text: str, name: str) -> dict[str, object] | list[object]:
    """A JSON reader keeps the last of two equal keys: here the first would be lost without a word, so both are refused."""

    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        counts = Counter(key for key, _ in found)
        repeated = next((key for key, times in counts.items() if times > 1), None)
        if repeated is not None:
            _refuse(name, repeated, "stands there twice")
        return dict(found)

    try:
        content: dict[str, object] | list[object] = json.loads(text, object_pairs_hook=pairs, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise DataInvalid(f"{name} is not JSON: {error}", mend=_FORMS) from error
    return content


def _listed(row: object, place: int, name: str) -> Row:
    if not isinstance(row, dict):
        _refuse(name, f"entry {place}", f"is {row!r}, and must be an object")
    strange = sorted(set(row) - {"symbol", _WEIGHT, _QUANTITY})
    kinds = [kind for kind in (_WEIGHT, _QUANTITY) if row.get(kind) is not None]
    if strange or len(kinds) != 1 or "symbol" not in row:
        what = f"has {', '.join(map(repr, strange))}" if strange else "needs a symbol and either a weight or a quantity"
        _refuse(name, f"entry {place}", what)
    return row["symbol"], kinds[0], row[kinds[0]]


def _csv_rows(text: str, name: str) -> Iterable[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=None), skipinitialspace=True)  # all three kinds of line ends
    columns = [column.strip().lower() for column in reader.fieldnames or []]
    reader.fieldnames = columns
    if "symbol" not in columns or not {_WEIGHT, _QUANTITY} & set(columns) or set(columns) - {"symbol", _WEIGHT, _QUANTITY}:
        _refuse(name, ",".join(columns), "are not the columns symbol,weight or symbol,quantity")
    found: list[Row] = []
    for row in reader:
        given = {key: (value or "").strip() for key, value in row.items() if key and isinstance(value, str | None)}
        kinds = [kind for kind in (_WEIGHT, _QUANTITY) if given.get(kind)]
        if None in row or len(kinds) != 1:
            _refuse(name, f"line {reader.line_num}", "needs a symbol and either a weight or a quantity")
        found.append((given["symbol"], kinds[0], given[kinds[0]]))
    return found


def _number(name: str, symbol: str, kind: str, value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        _refuse(name, symbol, f"has the {kind} {_shown(value)}, which is no number")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        _refuse(name, symbol, f"has the {kind} {_shown(value)}, which is no number")
    if not number.is_finite() or abs(number) > _MOST:
        _refuse(name, symbol, f"has the {kind} {_shown(value)}, which nobody can hold")
    return number


def _refuse(name: str, key: str, what: str) -> NoReturn:
    raise DataInvalid(f"{name}: {key} {what}", mend=_FORMS)


def _shown(value: object) -> str:
    return str(value) if isinstance(value, Decimal) else repr(value)
