"""One round trip: bounded in time, size and reach. What comes back is a status, headers and bytes, or a fault."""

from __future__ import annotations

import functools
import logging
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx

from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_dagster.sources.http.faults import Transient
from hedgefund_dagster.sources.http.pulse import Pulse

# At INFO httpx writes whole addresses, and with them keys, into the log.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 64 * 1024
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Seconds to connect, between two reads and for the whole body; bytes of the body once unpacked; hops on the same host."""

    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    whole_seconds: float = 180.0
    max_body_bytes: int = 64 * 1024 * 1024
    redirects: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Status, headers (lower-case names) and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """GET over httpx. Redirects stay on the host that was asked: another host is nobody we chose to trust."""

    def __init__(self, source: str, bounds: Bounds, pulse: Pulse) -> None:
        self._source = source
        self._bounds = bounds
        self._pulse = pulse
        self._client: httpx.Client | None = None

    def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """The answer; raises Transient for what may pass, DataUnavailable or DataInvalid for what will not."""
        client = self._opened(proxied=urlsplit(url).hostname not in _LOOPBACK)
        try:
            for _ in range(self._bounds.redirects + 1):
                answer = self._once(client, url, headers)
                if answer.status not in _REDIRECTS:
                    return answer
                url = self._next(url, answer.headers.get("location", ""))
        except httpx.TimeoutException as error:
            raise Transient(f"no answer in time ({type(error).__name__})") from None
        except httpx.TransportError as error:
            raise Transient(f"the connection failed ({type(error).__name__}: {error})") from None
        except httpx.InvalidURL:
            raise DataUnavailable(f"{self._source}: redirected to an address that is none") from None
        raise DataUnavailable(f"{self._source}: more than {self._bounds.redirects} redirects")

    def _opened(self, *, proxied: bool) -> httpx.Client:
        """One client, so that connections are used again; a proxy of the environment is for hosts that are not this machine."""
        if self._client is None:
            timeout = httpx.Timeout(self._bounds.read_seconds, connect=self._bounds.connect_seconds)
            self._client = httpx.Client(timeout=timeout, follow_redirects=False, trust_env=proxied, verify=_trusted())
        return self._client

    def _once(self, client: httpx.Client, url: str, headers: Mapping[str, str]) -> Answer:
        started = self._pulse.elapsed()
        with client.stream("GET", url, headers={**headers, "Accept-Encoding": "gzip"}) as response:
            found = {name.lower(): value for name, value in response.headers.items()}
            declared = found.get("content-length", "")
            if declared.isdigit() and int(declared) > self._bounds.max_body_bytes:
                raise self._too_large()
            unpack = self._unpacker(found.get("content-encoding", ""))
            body = bytearray()
            for chunk in response.iter_raw(_CHUNK):
                body += unpack.decompress(chunk, self._bounds.max_body_bytes + 1 - len(body)) if unpack else chunk
                if len(body) > self._bounds.max_body_bytes:
                    raise self._too_large()
                if self._pulse.elapsed() - started > self._bounds.whole_seconds:
                    raise Transient(f"the body was not complete after {self._bounds.whole_seconds:g} s")
            if unpack and not unpack.eof:
                raise Transient("the packed body ends too early")
            return Answer(status=response.status_code, headers=found, body=bytes(body))

    def _unpacker(self, encoding: str) -> _Unpacker | None:
        if encoding.strip().lower() in ("", "identity"):
            return None
        if encoding.strip().lower() == "gzip":
            return _Unpacker()
        raise DataInvalid(f"{self._source}: the body is packed as {encoding!r}, which was not asked for")

    def _next(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        before, after = urlsplit(url), urlsplit(target)
        upgraded = before.scheme == "http" and after.scheme == "https"
        if (
            not location
            or after.hostname != before.hostname
            or not (upgraded or (after.scheme, after.port) == (before.scheme, before.port))
        ):
            message = f"{self._source}: redirected to another host ({after.hostname}), which is refused"
            raise DataUnavailable(message, mend="if the vendor has moved, set its base_url in config/sources.yaml")
        return target

    def _too_large(self) -> DataInvalid:
        message = f"{self._source}: the body is larger than {self._bounds.max_body_bytes:,} bytes and was cut off"
        return DataInvalid(message, mend="ask for fewer names or days")


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Certificates are always verified; reading the list takes 30 ms, so it is read once."""
    return httpx.create_ssl_context()


class _Unpacker:
    """gzip in bounded steps: a few kilobytes must not become gigabytes before anybody counts."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        """Whether the stream ended as it should."""
        return self._inner.eof

    def decompress(self, chunk: bytes, room: int) -> bytes:
        """At most ``room`` bytes of the chunk."""
        try:
            return self._inner.decompress(self._inner.unconsumed_tail + chunk, max(room, 1))
        except zlib.error as error:
            raise Transient(f"the packed body is damaged ({error})") from None
