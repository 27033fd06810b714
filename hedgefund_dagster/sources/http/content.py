"""Is a payload what it claims to be? A status of 200 says nothing: pages, proofs of work and half documents come with it too."""

from __future__ import annotations

import csv
import io
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_dagster.sources.http.faults import Garbled
from hedgefund_dagster.sources.source import RawPayload

T = TypeVar("T")
_RENAMED = "the vendor changed its format: compare with its documentation and mend the adapter"
_PAGE = (b"<!doctype html", b"<html")


def refuse_page(payload: RawPayload, content_type: str) -> None:
    """Raise DataUnavailable if the answer is a web page, whatever its status; Garbled if it is empty."""
    start = payload.content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_PAGE) or (content_type.lower().startswith("text/html") and start.startswith(b"<")):
        raise DataUnavailable(
            f"{payload.origin}: answered with a web page instead of data", mend="open the address in a browser and read it"
        )
    if not start:
        raise Garbled(f"{payload.origin}: answered with nothing")


def json_of(payload: RawPayload, kind: type[T]) -> T:
    """The document as a typed value; numbers may come as text, fields nobody asked for are ignored.

    Raises Garbled if it ends too early, DataInvalid naming the field that is missing or has another type.
    """
    try:
        return msgspec.json.decode(payload.content.removeprefix(b"\xef\xbb\xbf"), type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise DataInvalid(f"{payload.origin}: {error}", mend=_RENAMED) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        start = payload.content[:80].decode("utf-8", "replace")
        raise Garbled(f"{payload.origin}: no complete JSON ({error}); it starts with {start!r}") from error


def csv_of(payload: RawPayload, columns: Iterable[str]) -> list[dict[str, str]]:
    """Rows of a CSV by column name; raises DataInvalid naming a missing column or a row of another length."""
    try:
        text = payload.content.decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Garbled(f"{payload.origin}: no readable CSV ({error})") from error
    header = [name.strip() for name in lines[0]] if lines else []
    missing = [name for name in columns if name not in header]
    if missing:
        message = f"{payload.origin}: the column `{missing[0]}` is missing; found: {', '.join(header)[:200]}"
        raise DataInvalid(message, mend=_RENAMED)
    for number, line in enumerate(lines[1:], start=1):
        if len(line) != len(header):
            raise Garbled(f"{payload.origin}: row {number} has {len(line)} cells instead of {len(header)}")
    return [dict(zip(header, (cell.strip() for cell in line), strict=True)) for line in lines[1:]]


def xml_of(payload: RawPayload) -> ET.Element:
    """The root of an XML document. Documents with a DTD are refused: entities are how a small document becomes a large one."""
    if b"<!DOCTYPE" in payload.content or b"<!ENTITY" in payload.content:
        raise DataInvalid(f"{payload.origin}: the document defines entities, which is refused")
    try:
        return ET.fromstring(payload.content)  # noqa: S314 - no DTD gets here, and with it no entity and no outside file
    except ET.ParseError as error:
        raise Garbled(f"{payload.origin}: no complete XML ({error})") from error


def number(payload: RawPayload, row: int, name: str, cell: str) -> float:
    """A finite number; an empty cell is NaN (absent). Raises DataInvalid naming row and field."""
    if not cell:
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise DataInvalid(f"{payload.origin}: row {row}, field `{name}`: {cell!r} is no number", mend=_RENAMED)
    return value
