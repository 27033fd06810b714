"""BOOKS: what is researched, judged and traded together. A new one is a line here; its assets, jobs and sensors follow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A strategy's home: one source, one mandate of config/risk.yaml (a run may name another)."""

    name: str
    source: str
    mandate: str
    title: str
    primary: bool = True
    """A primary book uses the registry's plain aliases; others carry their name behind (``champion-ohlcv``)."""

    def alias(self, name: str) -> str:
        """The registry alias of this book."""
        return name if self.primary else f"{name}-{self.name}"


BOOKS: dict[str, Book] = {
    book.name: book
    for book in (
        Book(
            name="sp500",
            source="bundled_sp500",
            mandate="market_neutral",
            title="weekly market-neutral long/short of 20 large US stocks",
        ),
        Book(
            name="ohlcv",
            source="bundled_ohlcv",
            mandate="long_only",
            title="five US stocks held long, raw prices with opens and splits",
            primary=False,
        ),
        Book(name="own_files", source="files", mandate="market_neutral", title="weekly market-neutral long/short of your own files"),
    )
}


def book_of(source: str) -> Book:
    """The book that trades a source."""
    return next(book for book in BOOKS.values() if book.source == source)
