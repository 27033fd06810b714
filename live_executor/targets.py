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
from hedgefund_core.trading.instrument import LARGEST

_LARGEST = 1 << 20
_FORMS = 'write {"AAPL": 0.1}, {"quantities": {"AAPL": 100}}, [{"symbol": "AAPL", "weight": 0.1}], or CSV with symbol,weight|quantity'
_WEIGHT, _QUANTITY = "weight", "quantity"
_KINDS = {
    "weight": _WEIGHT,
    "target_weight": _WEIGHT,
    "quantity": _QUANTITY,
    "qty": _QUANTITY,
    "shares": _QUANTITY,
    "target_quantity": _QUANTITY,
}
_SECTIONS = _KINDS | {"weights": _WEIGHT, "target_weights": _WEIGHT, "quantities": _QUANTITY, "target_quantities": _QUANTITY}
_WRAPPER = "targets"
_REMARKS = frozenset({"name", "comment", "note", "date", "as_of", "timestamp", "version", "source", "strategy"})
"""Keys and columns beside targets that are ignored. Any other is refused, because it might change what is meant."""
_SETTLED_LOOKS = 4
"""A table whose last line is not terminated may still be being written: it is read once it was the same so many times."""


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
        self._open_ended: tuple[tuple[int, int, int], int] = (0, 0, 0), 0

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    def changed(self, *, patient: bool = False) -> Targets | None:
        """Its targets if it is another file than the last time it was looked at, else None; raises DataInvalid.

        ``patient``: a file that looks as if its writer was not done yet is looked at again first.
        """
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
        if patient and not self._is_whole(content, stamp):
            self.look_again()
            return None
        origin = f"{hashlib.sha256(content).hexdigest()} {self._path.resolve()}"
        return msgspec.structs.replace(read_targets(content, str(self._path)), origin=origin)

    def _is_whole(self, content: bytes, stamp: tuple[int, int, int]) -> bool:
        """Half a number is a number, too: without a line's end or a bracket nobody can tell, so that time has to."""
        last, looks = self._open_ended
        self._open_ended = stamp, looks + 1 if last == stamp else 0
        return content[-1:] in {b"\n", b"\r", b"}", b"]", b""} or self._open_ended[1] >= _SETTLED_LOOKS

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
    for given, kind, value in rows:
        symbol = given.strip().upper() if isinstance(given, str) else given
        if not isinstance(symbol, str) or not is_symbol(symbol):
            _refuse(name, str(symbol), "is not a symbol (upper case letters, digits and . - / ^ _)")
        if symbol in weights or symbol in quantities:
            _refuse(name, symbol, "stands there twice")
        (weights if kind == _WEIGHT else quantities)[symbol] = _number(name, symbol, kind, value)
    return Targets(weights=weights, quantities=quantities)


Row = tuple[object, str, object]


def _json_rows(text: str, name: str) -> Iterable[Row]:
    content = _without_remarks(_decoded(text, name), name)
    if isinstance(content, dict) and set(content) == {_WRAPPER} and isinstance(inner := content[_WRAPPER], dict | list):
        content = _without_remarks(inner, name)
    if isinstance(content, list):
        return [_listed(row, place, name) for place, row in enumerate(content)]
    if content and set(content) <= set(_SECTIONS):
        found: list[Row] = []
        for section, below in content.items():
            if not isinstance(below, dict):
                _refuse(name, section, f"is {below!r}, and must be an object of symbols")
            found += [(symbol, _SECTIONS[section], value) for symbol, value in below.items()]
        return found
    return [_named(symbol, value, name) for symbol, value in content.items()]


def _without_remarks(content: dict[str, object] | list[object], name: str) -> dict[str, object] | list[object]:
    """Sections alone. A map of symbols keeps all its keys, since a symbol may be spelt like a remark."""
    if not isinstance(content, dict):
        return content
    sections: dict[str, object] = {
        key: below for key, below in content.items() if key in {_WRAPPER, *_SECTIONS} and isinstance(below, dict | list)
    }
    strange = sorted(set(content) - {*sections, *_REMARKS})
    if sections and strange:
        _refuse(name, strange[0], f"beside {next(iter(sections))} means nothing here")
    return sections or content


def _named(symbol: str, value: object, name: str) -> Row:
    """A weight, or an object that says what its number is."""
    return _listed({"symbol": symbol, **value}, symbol, name) if isinstance(value, dict) else (symbol, _WEIGHT, value)


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


def _listed(row: object, place: int | str, name: str) -> Row:
    if not isinstance(row, dict):
        _refuse(name, f"entry {place}", f"is {row!r}, and must be an object")
    strange = sorted(set(row) - {"symbol", *_KINDS, *_REMARKS})
    kinds = [kind for kind in _KINDS if row.get(kind) is not None]
    if strange or len(kinds) != 1 or "symbol" not in row:
        what = f"has {', '.join(map(repr, strange))}" if strange else "needs a symbol and either a weight or a quantity"
        _refuse(name, f"entry {place}", what)
    return row["symbol"], _KINDS[kinds[0]], row[kinds[0]]


def _csv_rows(text: str, name: str) -> Iterable[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=None), skipinitialspace=True)  # all three kinds of line ends
    columns = [column.strip().lower() for column in reader.fieldnames or []]
    reader.fieldnames = columns
    if "symbol" not in columns or not set(_KINDS) & set(columns) or set(columns) - {"symbol", *_KINDS, *_REMARKS}:
        _refuse(name, ",".join(columns), "are not the columns symbol,weight or symbol,quantity")
    found: list[Row] = []
    for row in reader:
        given = {key: (value or "").strip() for key, value in row.items() if key and isinstance(value, str | None)}
        kinds = [kind for kind in _KINDS if given.get(kind)]
        if None in row or len(kinds) != 1:
            _refuse(name, f"line {reader.line_num}", "needs a symbol and either a weight or a quantity")
        found.append((given["symbol"], _KINDS[kinds[0]], given[kinds[0]]))
    return found


def _number(name: str, symbol: str, kind: str, value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        _refuse(name, symbol, f"has the {kind} {_shown(value)}, which is no number")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        _refuse(name, symbol, f"has the {kind} {_shown(value)}, which is no number")
    if not number.is_finite() or abs(number) > LARGEST:
        _refuse(name, symbol, f"has the {kind} {_shown(value)}, which nobody can hold")
    return number


def _refuse(name: str, key: str, what: str) -> NoReturn:
    raise DataInvalid(f"{name}: {key} {what}", mend=_FORMS)


def _shown(value: object) -> str:
    return str(value) if isinstance(value, Decimal) else repr(value)
