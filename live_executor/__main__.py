"""``executor``: the command line of the trading daemon (also ``python -m live_executor``)."""

from __future__ import annotations


def main() -> None:
    """Run one command and exit with its code."""
    from live_executor.cli import app

    app()


if __name__ == "__main__":
    main()
