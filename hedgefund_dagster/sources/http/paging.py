"""Walking pages to the end, and not further: a cursor that repeats or never ends is the vendor's fault, not our endless loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeVar

from hedgefund_core.errors import DataInvalid

T = TypeVar("T")


def walk_pages(source: str, page: Callable[[str], T], next_cursor: Callable[[T], str], *, max_pages: int = 1_000) -> list[T]:
    """All pages from the cursor ``""`` on, until ``next_cursor`` is empty.

    Raises
    ------
    DataInvalid
        If a cursor comes twice, or there are more than ``max_pages``.
    """
    pages: list[T] = []
    cursor, seen = "", {""}
    for count in itertools.count(1):
        pages.append(page(cursor))
        cursor = next_cursor(pages[-1])
        if not cursor:
            return pages
        if cursor in seen:
            raise DataInvalid(f"{source}: page {count} points back to a page that was read already ({cursor!r})")
        if count >= max_pages:
            raise DataInvalid(f"{source}: more than {max_pages} pages: the paging never ends")
        seen.add(cursor)
    return pages
