"""Texts that repeat (symbols, payload digests, labels) stand once, under a number: rows stay narrow and of fixed width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from psycopg import sql

Ids = NDArray[Any]
_SEPARATOR = "\x1f"
_TABLES = {"symbols": ("symbol",), "labels": ("source", "known_at_basis"), "payloads": ("raw_sha256",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Numbers of the texts of some rows."""

    symbols: Ids
    labels: Ids
    payloads: Ids


def numbered(connection: psycopg.Connection, rows: pa.Table) -> Names:
    """The number of each row's texts; new texts are given one, in sorted order, so that two writers cannot wait for each other."""
    return Names(**{table: _numbers(connection, table, columns, rows) for table, columns in _TABLES.items()})


def texts_of(connection: psycopg.Connection, table: str, column: str, numbers: Ids) -> pa.DictionaryArray:
    """The texts behind numbers; the dictionary is in byte order, so that its indices rank them."""
    distinct, inverse = np.unique(numbers, return_inverse=True)
    query = sql.SQL("SELECT {number}, {column} FROM {place} WHERE {number} = ANY(%s)").format(
        number=sql.Identifier(f"{table[:-1]}_id"), column=sql.Identifier(column), place=sql.Identifier("lake", table)
    )
    by_number: dict[int, str] = dict(connection.execute(query, [distinct.tolist()]).fetchall())
    texts = [by_number[number] for number in distinct.tolist()]
    dictionary = sorted(set(texts), key=str.encode)
    ranks = {text: rank for rank, text in enumerate(dictionary)}
    indices = np.array([ranks[text] for text in texts], np.int32)[inverse] if texts else np.empty(0, np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(dictionary, pa.string()))


def _numbers(connection: psycopg.Connection, table: str, columns: tuple[str, ...], rows: pa.Table) -> Ids:
    encoded = _encoded(pc.binary_join_element_wise(*(rows.column(name) for name in columns), _SEPARATOR))
    parts = [tuple(text.split(_SEPARATOR, len(columns) - 1)) for text in encoded.dictionary.to_pylist()]
    listed = sql.SQL(", ").join(sql.SQL("%s::text[]") for _ in columns)
    names = sql.SQL(", ").join(sql.Identifier(name) for name in columns)
    place = {"place": sql.Identifier("lake", table), "names": names, "listed": listed, "number": sql.Identifier(f"{table[:-1]}_id")}
    find = sql.SQL("SELECT {names}, {number} FROM {place} JOIN unnest({listed}) AS given ({names}) USING ({names})").format(**place)
    add = sql.SQL("INSERT INTO {place} ({names}) SELECT * FROM unnest({listed}) AS given ({names}) ON CONFLICT DO NOTHING").format(**place)
    given = [list(column) for column in zip(*sorted(parts), strict=True)]
    found = connection.execute(find, given).fetchall()
    if len(found) < len(parts):
        connection.execute(add, given)
        found = connection.execute(find, given).fetchall()
    by_text = {tuple(row[:-1]): row[-1] for row in found}
    ids: Ids = np.array([by_text[part] for part in parts], np.int32)[encoded.indices.to_numpy()]
    return ids


def _encoded(texts: pa.ChunkedArray) -> pa.DictionaryArray:
    encoded = texts.combine_chunks().dictionary_encode()
    return encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
