"""A vendor on this machine: it serves fixtures, and misbehaves in any way one asks it to."""

from __future__ import annotations

import contextlib
import functools
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One fixture: which request it answers, and with what. ``page`` is the documentation it was written from."""

    page: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def answers(self, path: str, query: Mapping[str, str]) -> bool:
        return path == self.path and all(query.get(name) == value for name, value in self.query.items())


@functools.cache
def exchanges(vendor: str) -> tuple[Exchange, ...]:
    found = []
    for file in sorted((FIXTURES / vendor).glob("*.yaml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        body = content["body"].encode()
        found.append(
            Exchange(
                page=content["page"], path=content["path"], query=content.get("query", {}), headers=content.get("headers", {}), body=body
            )
        )
    return tuple(sorted(found, key=lambda exchange: -len(exchange.query)))


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What the server does instead of answering. ``kind``: status, hang, reset, page, redirect, huge, huge_declared."""

    kind: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Seen:
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


class Loopback:
    """``faults`` are used up one a request; ``always`` is a fault for every request; ``edit`` changes each body."""

    def __init__(self, vendor: str = "") -> None:
        self.exchanges = list(exchanges(vendor)) if vendor else []
        self.faults: list[Fault] = []
        self.always: Fault | None = None
        self.edit: Callable[[bytes], bytes] = lambda body: body
        self.seen: list[Seen] = []
        self.released = threading.Event()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.01), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def find(self, path: str, query: Mapping[str, str]) -> Exchange | None:
        return next((exchange for exchange in self.exchanges if exchange.answers(path, query)), None)


@contextlib.contextmanager
def serving(vendor: str = "") -> Iterator[Loopback]:
    server = Loopback(vendor)
    try:
        yield server
    finally:
        server.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: Loopback) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    """Head and body are two writes: the second must not wait for the first one's acknowledgement."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.server.owner.seen.append(Seen(path=parts.path, query=query, headers={k.lower(): v for k, v in self.headers.items()}))
        fault = self.server.owner.faults.pop(0) if self.server.owner.faults else self.server.owner.always
        with contextlib.suppress(ConnectionError):
            if fault is not None:
                self._misbehave(fault, self.server.owner.find(parts.path, query))
                return
            self._answer(self.server.owner.find(parts.path, query))

    def _answer(self, exchange: Exchange | None) -> None:
        if exchange is None:
            self._send(404, {"Content-Type": "text/plain"}, b"not found")
            return
        etag = exchange.headers.get("ETag")
        if etag and self.headers.get("If-None-Match") == etag:
            self._send(304, {"ETag": etag}, b"")
            return
        # Vendors that write whole addresses into their answers: in a fixture {{base}} is this server.
        body = exchange.body.replace(b"{{base}}", self.server.owner.url.encode())
        self._send(200, exchange.headers, self.server.owner.edit(body))

    def _misbehave(self, fault: Fault, exchange: Exchange | None) -> None:
        body = fault.body or (exchange.body if exchange else b"")
        if fault.kind == "hang":
            self.server.owner.released.wait(20)
            self.close_connection = True
        elif fault.kind == "reset":
            self._head(200, {"Content-Length": str(len(body))})
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            # Linger of zero seconds: closing sends RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif fault.kind in ("huge", "huge_declared"):
            self._huge(declared=fault.kind == "huge_declared")
        else:
            self._send(fault.status, fault.headers, fault.body)

    def _huge(self, *, declared: bool) -> None:
        """One gigabyte, made as it is sent."""
        gigabyte = 1024**3
        self._head(200, {"Content-Length": str(gigabyte)} if declared else {"Connection": "close"})
        block = b'{"a":"' + b"x" * (1024 * 1024 - 6)
        self.close_connection = True
        for _ in range(gigabyte // len(block)):
            self.wfile.write(block)

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._head(status, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, ValueError, OSError):
            super().handle()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
