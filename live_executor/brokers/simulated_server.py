"""The simulated exchange as a process of its own on 127.0.0.1: it outlives an executor that is killed.

``python -m live_executor.brokers.simulated_server --account A --source S``; it writes its port beside its book.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec

from hedgefund_core.errors import HedgefundError, InvariantViolation
from hedgefund_core.trading.events import encode
from live_executor.brokers import BrokerSetup, wire
from live_executor.brokers.exchange import Exchange
from live_executor.brokers.simulated import open_exchange
from live_executor.brokers.simulated_client import port_file
from live_executor.ports import UNREADABLE


def answer(exchange: Exchange, request: wire.Request) -> wire.Reply:
    """Carry out one request."""
    match request:
        case wire.Submit(order=order):
            return wire.Found(order=exchange.submit(order))
        case wire.Cancel(client_order_id=name):
            exchange.cancel(name)
            return wire.Done()
        case wire.LookUp(client_order_id=name):
            return wire.Found(order=exchange.look_up(name))
        case wire.AskNews(after_seq=seq):
            return wire.Frames(payloads=tuple(msgspec.Raw(encode(event)) for event in exchange.news(seq)))
        case wire.AskReport(session=session, ts=ts):
            return wire.Frames(payloads=(msgspec.Raw(encode(exchange.report(session, ts))),))
        case wire.Advance(session=session, moment=moment, ts=ts):
            exchange.advance(session, moment, ts)
            return wire.Done()
    raise InvariantViolation(f"request {type(request).__name__} has no answer")


async def serve(exchange: Exchange, announce: Path) -> None:
    """Answer requests until SIGTERM or SIGINT."""
    stop = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            try:
                reply: wire.Reply = answer(exchange, wire.read_request(line))
            except HedgefundError as error:
                reply = wire.Refused(error=type(error).__name__, message=error.message, mend=error.mend)
            except UNREADABLE as error:
                reply = wire.Refused(error="InvariantViolation", message=f"garbled request: {error}", mend="")
            writer.write(wire.to_line(reply))
            await writer.drain()
        writer.close()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except ConnectionError:  # the client was killed: its orders stay
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0, limit=wire.LINE_LIMIT)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _announce(announce, int(server.sockets[0].getsockname()[1]))
    await stop.wait()
    server.close()


def _announce(path: Path, port: int) -> None:
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(f"{port}\n")
    fresh.replace(path)


def main(arguments: list[str] | None = None) -> int:
    """Open the book of an account and serve it."""
    from live_executor.settings import read_settings

    parser = argparse.ArgumentParser(prog="simulated_server", description="The simulated broker as a process of its own")
    parser.add_argument("--account", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--port-file", type=Path, default=None)
    given = parser.parse_args(arguments)
    try:
        settings = read_settings()
        setup = BrokerSetup(
            data=settings.data,
            account=given.account,
            source=given.source,
            costs=settings.mandate.costs,
            initial_cash=settings.trading.initial_cash,
        )
        exchange = open_exchange(setup)
        announced = given.port_file or port_file(settings.data, given.account)
        asyncio.run(serve(exchange, announced))
        announced.unlink(missing_ok=True)
        exchange.close()
    except HedgefundError as error:
        sys.stderr.write(f"{error.message}\n{error.mend}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
