"""The other side of the Alpaca benchmarks, in a process of its own so that its work is nobody's cost.

``orders``: answers every POST with an accepted order. ``bars PER``: an Alpaca data stream that sends frames of so many bars for ever,
in the encoding that was asked for. Prints its port.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
from datetime import UTC, datetime

import msgspec

NAME = b'"client_order_id":"'


class OrderDesk(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as little of it as the clients need."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            found = head.find(b"content-length:")
            length = int(head[found + 15 :].split(b"\r\n", 1)[0]) if found >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            self._transport.write(_accepted(body))  # type: ignore[attr-defined]


def _accepted(request: bytes) -> bytes:
    compact = request.replace(b'": "', b'":"')
    start = compact.find(NAME) + len(NAME)
    body = ORDER.replace(b"THE-NAME", compact[start : compact.find(b'"', start)])
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


_AT = "2026-03-16T18:38:01.942282Z"
_NULLS = [
    "filled_at",
    "expired_at",
    "canceled_at",
    "failed_at",
    "replaced_at",
    "replaced_by",
    "replaces",
    "notional",
    "filled_avg_price",
    "stop_price",
    "legs",
    "trail_percent",
    "trail_price",
    "hwm",
]
ORDER = msgspec.json.encode(
    {
        "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
        "client_order_id": "THE-NAME",
        "created_at": _AT,
        "updated_at": _AT,
        "submitted_at": _AT,
        "asset_id": "b0b6dd9d-8b9b-48a9-ba46-b9d54906e415",
        "symbol": "AAPL",
        "asset_class": "us_equity",
        "qty": "15",
        "filled_qty": "0",
        "order_class": "simple",
        "type": "limit",
        "order_type": "limit",
        "side": "buy",
        "time_in_force": "day",
        "limit_price": "107.00",
        "status": "accepted",
        "extended_hours": False,
    }
    | dict.fromkeys(_NULLS)
)


def _bar(n: int, *, packed: bool) -> dict[str, object]:
    at = datetime(2026, 3, 16, 14, 30, tzinfo=UTC)
    bar = {"T": "b", "S": f"S{n % 500:03d}", "o": 100.1 + n, "h": 101.2, "l": 99.9, "c": 100.5, "v": 12345 + n, "n": 321, "vw": 100.33}
    return bar | {"t": at if packed else "2026-03-16T14:30:00Z"}


def _frame(payload: bytes, *, binary: bool) -> bytes:
    first = b"\x82" if binary else b"\x81"
    size = len(payload)
    if size < 126:
        return first + bytes([size]) + payload
    return first + (b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big")) + payload


async def _stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, per_frame: int) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    fields = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in head.split("\r\n")[1:])}
    packed = "msgpack" in fields.get("content-type", "")
    encode = msgspec.msgpack.encode if packed else msgspec.json.encode
    digest = hashlib.sha1(f"{fields['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()  # RFC 6455
    accept = base64.b64encode(digest).decode()
    upgrade = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    writer.write(upgrade.encode() + _frame(encode([{"T": "success", "msg": "connected"}]), binary=packed))
    await reader.read(65536)
    writer.write(_frame(encode([{"T": "success", "msg": "authenticated"}]), binary=packed))
    await reader.read(65536)
    writer.write(_frame(encode([{"T": "subscription", "bars": ["*"]}]), binary=packed))
    starts = range(0, 1000, per_frame)
    blob = b"".join(_frame(encode([_bar(k + j, packed=packed) for j in range(per_frame)]), binary=packed) for k in starts)
    try:
        while True:
            writer.write(blob)
            await writer.drain()
    except ConnectionError:
        return
    finally:
        writer.close()


async def main() -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    if sys.argv[1] == "orders":
        server = await loop.create_server(OrderDesk, "127.0.0.1", 0)
    else:
        per_frame = int(sys.argv[2])
        server = await asyncio.start_server(lambda r, w: _stream(r, w, per_frame), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
