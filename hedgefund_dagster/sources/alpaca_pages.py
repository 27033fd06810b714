"""What all of Alpaca's paged answers share: the token of the page after, and the symbols that were asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

from hedgefund_core.errors import DataInvalid
from hedgefund_dagster.sources.http.client import Ask, Fetched, HttpClient
from hedgefund_dagster.sources.http.paging import walk_pages
from hedgefund_dagster.sources.source import RawPayload

NAME = "alpaca"


class Paged(Protocol):
    """A page."""

    @property
    def next_page_token(self) -> str | None:
        """Where the page after begins."""


Page = TypeVar("Page", bound=Paged)


def fetch_pages(client: HttpClient, first: Ask, check: Callable[[RawPayload], Page]) -> list[RawPayload]:
    """All pages from the first on."""

    def page_at(token: str) -> Fetched[Page]:
        params = {**first.params, **({"page_token": token} if token else {})}
        return client.get(Ask(dataset=first.dataset, path=first.path, params=params, base=first.base), check)

    pages = walk_pages(f"{NAME}: {client.origin(first)}", page_at, lambda page: page.value.next_page_token or "")
    return [page.payload for page in pages]


def asked(payload: RawPayload, name: str) -> str:
    """A parameter of the request the payload answers."""
    return parse_qs(urlsplit(payload.origin).query).get(name, [""])[0]


def asked_symbols(payload: RawPayload) -> list[str]:
    """Symbols that were asked for."""
    return asked(payload, "symbols").split(",")


def refuse_other(payload: RawPayload, field: str, *symbols: str) -> None:
    """Raise DataInvalid if none of the symbols was asked for."""
    if not set(symbols) & set(asked_symbols(payload)):
        raise DataInvalid(f"{payload.origin}: the field `{field}` names {', '.join(symbols)[:100]!r}, which was not asked for")


def origin(payload: RawPayload, row: int) -> dict[str, object]:
    """Columns that lead back to the payload."""
    return {"source": NAME, "raw_sha256": payload.sha256, "source_row": row}
