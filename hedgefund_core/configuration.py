"""Configuration without I/O: a parsed YAML file and environment variables in, a checked value and its origins out.

A misspelt key is an error that names file and key and suggests the nearest valid one: a key silently ignored is a
limit silently lost. Overrides are spelt ``HEDGEFUND_<FILE>__<KEY>__<SUB>=value``.
"""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from hedgefund_core.errors import ConfigError

T = TypeVar("T")
Tree = dict[str, object]

DEFAULT = "default"
_PREFIX = "HEDGEFUND_"
_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]+)`")
_MISSING = re.compile(r"missing required field `(?P<key>[^`]+)`")
_PLACE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`")


class FilesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user's own data (source ``files``). Only the folder has no default; what is assumed is printed."""

    folder: str = ""
    calendar: str = "observed"
    timezone: str = "America/New_York"
    currency: str = "USD"
    price_kind: typing.Literal["raw", "split_adjusted", "total_return"] = "split_adjusted"
    benchmark: str = "equal_weight"
    tick: float | None = None
    sessions_per_year: float | None = None


class VendorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be said about a vendor. Empty means the vendor's own; keys are never here but in the environment.

    ``base_url`` replaces all of its addresses (any server that speaks its format); ``user_agent`` names a person to
    write to, where the vendor wants one; ``names`` are symbols or series; ``queries`` topic -> question.
    """

    base_url: str = ""
    user_agent: str = ""
    names: tuple[str, ...] = ()
    since: str = ""
    queries: dict[str, str] = {}


class CacheSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where vendors' answers are kept besides the data folder: this process's memory, and a Valkey or Redis that processes share.

    ``url``: redis://, rediss:// or unix:// address, ``embedded`` (one of our own in the data folder), empty for none; ``seconds``: how
    long an answer serves the other data sets that are read off it.
    """

    url: str = ""
    memory_mb: typing.Annotated[int, msgspec.Meta(ge=0)] = 64
    seconds: typing.Annotated[float, msgspec.Meta(ge=0.0)] = 300.0


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where bars and actions are kept. The address of a PostgreSQL server is in the environment: it holds a password."""

    bars: typing.Literal["parquet", "postgresql"] = "parquet"


class KnownAt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a row of a file table was known: a ``column`` of the file (its bare dates mean ``clock``), else ``delay`` after ``ts``."""

    column: str = ""
    clock: str = "24:00"
    delay: str = "15m"
    basis: typing.Literal["", "observed", "vendor", "assumed"] = ""


class Unpivot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Columns of a wide file that become rows: their names (theirs: ours) go to the column ``into``, their cells to ``value``."""

    into: str
    columns: dict[str, str]
    value: str = "value"


class Chain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that states only last days: in each ``group`` a row begins the day after the one before it; the first states the beginning.

    A last day from ``open_end`` on means that it still holds.
    """

    group: str
    until: str
    open_end: str = "2050-01-01"


class FileTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of the user's that becomes a table: ``columns`` ours: theirs; ``constants`` ours: text, ``{theirs}`` filled in by the row.

    Moments without a zone are local time in ``timezone``; a bare date means ``clock`` of that day where a moment is wanted;
    ``stamps: start``: the file's ts is the beginning of a ``step``; ``exclude``: column -> values whose rows are left out.
    """

    table: str
    path: str
    columns: dict[str, str]
    constants: dict[str, str] = {}
    timezone: str = "America/New_York"
    clock: str = "24:00"
    stamps: typing.Literal["start", "end"] = "end"
    step: str = ""
    known_at: KnownAt = KnownAt()
    exclude: dict[str, tuple[str, ...]] = {}
    unpivot: Unpivot | None = None
    chain: Chain | None = None


class SourcesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``config/sources.yaml``: settings of the sources that have any; ``fallback``: data set -> ``vendor/data set``, first choice first;
    ``late_after_minutes``: so long after a close a bar that is not there is late.
    """

    files: FilesSettings = FilesSettings()
    research_start: dict[str, str] = {}
    vendors: dict[str, VendorSettings] = {}
    fallback: dict[str, tuple[str, ...]] = {}
    files_tables: dict[str, FileTable] = {}
    late_after_minutes: typing.Annotated[float, msgspec.Meta(ge=15.0)] = 60.0
    store: StoreSettings = StoreSettings()
    cache: CacheSettings = CacheSettings()


class UniverseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``config/universe.yaml``: which source, and which of its symbols (none named = all)."""

    source: str = "bundled_sp500"
    symbols: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


def resolve(file_name: str, content: Mapping[str, object], env: Mapping[str, str], target: type[T]) -> tuple[T, dict[str, str]]:
    """Merge a parsed YAML file with environment overrides and convert it.

    Parameters
    ----------
    file_name : name shown in errors, e.g. ``config/risk.yaml``; its stem names the environment variables.
    content : the parsed file.
    env : environment variables (others than this file's are ignored).
    target : msgspec Struct that forbids unknown fields.

    Returns
    -------
    The value, and for each dotted key that was set the file name or the variable it came from.

    Raises
    ------
    ConfigError
        Unknown, missing or ill-typed key: names the file (or variable), the key and the nearest valid key.
    """
    tree: Tree = _copy(content)
    origins = dict.fromkeys(_leaves(tree), file_name)
    stem = file_name.rsplit("/", 1)[-1].split(".", 1)[0]
    prefix = f"{_PREFIX}{stem.upper()}__"
    for name in sorted(env):
        if name.startswith(prefix):
            path = name.removeprefix(prefix).lower().split("__")
            _put(tree, path, env[name], name)
            origins = {key: origin for key, origin in origins.items() if not key.startswith(".".join(path) + ".")}
            origins[".".join(path)] = name
    try:
        value = msgspec.convert(tree, target, strict=False)
    except msgspec.ValidationError as error:
        raise _explained(error, file_name, origins, target) from error
    for key in _leaves(_copy(msgspec.to_builtins(value))):
        origins.setdefault(key, DEFAULT)
    return value, origins


def _copy(content: Mapping[str, object]) -> Tree:
    return {str(key): _copy(value) if isinstance(value, Mapping) else value for key, value in content.items()}


def _leaves(tree: Tree, above: str = "") -> list[str]:
    """Dotted keys of a tree's leaves."""
    keys: list[str] = []
    for key, value in tree.items():
        dotted = f"{above}{key}"
        keys.extend(_leaves(typing.cast("Tree", value), f"{dotted}.") if isinstance(value, dict) and value else [dotted])
    return keys


def _put(tree: Tree, path: list[str], text: str, variable: str) -> None:
    """Set one override; JSON text (a list, an object, null) is decoded, anything else stays text for the conversion."""
    for key in path[:-1]:
        below = tree.get(key)
        if below is None:
            below = tree[key] = {}
        if not isinstance(below, dict):
            message = f"{variable}: {key!r} is not a section"
            raise ConfigError(message, mend="compare the variable's name with the keys of the file")
        tree = typing.cast("Tree", below)
    tree[path[-1]] = _decoded(text, variable)


def _decoded(text: str, variable: str) -> object:
    if text == "null":
        return None
    if not text.startswith(("[", "{")):
        return text
    try:
        return typing.cast("object", msgspec.json.decode(text))
    except msgspec.DecodeError as error:
        message = f"{variable}: not readable as JSON: {error}"
        raise ConfigError(message, mend='write a list as ["A", "B"]') from error


def _explained(error: msgspec.ValidationError, file_name: str, origins: Mapping[str, str], target: type) -> ConfigError:
    """The words of msgspec as an error that names file, key, and the nearest valid key."""
    text = str(error)
    place = _PLACE.search(text)
    path = place["path"] if place else ""
    unknown, missing = _UNKNOWN.search(text), _MISSING.search(text)
    key = ".".join(part for part in (path, (unknown or missing or {"key": ""})["key"]) if part)
    origin = next((name for dotted, name in origins.items() if dotted == key or dotted.startswith(f"{key}.")), file_name)
    if unknown is None:
        what = "is missing" if missing else _PLACE.sub("", text)
        return ConfigError(f"{origin}: {key or 'the file'}: {what}", mend=f"correct {key or 'it'} in {origin}")
    valid = _valid_keys(target, path)
    near = difflib.get_close_matches(unknown["key"], valid, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}?" if near else "remove it"
    return ConfigError(f"{origin}: unknown key {key!r}; {hint}", mend=f"rename or remove {key!r} in {origin}; valid: {', '.join(valid)}")


def _valid_keys(target: type, path: str) -> list[str]:
    """Keys of the struct at a place of msgspec's path notation (``a.b[...].c``)."""
    current: object = target
    for step in re.findall(r"[^.\[\]]+|\[[^\]]*\]", path):
        if step.startswith("[") or step == "...":
            arguments = [a for a in typing.get_args(_plain(current)) if a is not Ellipsis]
            current = arguments[-1] if arguments else current
        else:
            current = typing.get_type_hints(_plain(current)).get(step, current)
    found = _plain(current)
    return sorted(found.__struct_fields__) if isinstance(found, type) and issubclass(found, msgspec.Struct) else []


def _plain(kind: object) -> typing.Any:  # noqa: ANN401 - a type expression has no narrower type
    """The struct or container inside an optional type."""
    options = [a for a in typing.get_args(kind) if a is not type(None)]
    return options[0] if type(None) in typing.get_args(kind) and len(options) == 1 else kind
