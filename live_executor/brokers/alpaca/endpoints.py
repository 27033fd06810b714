"""Where the broker is and who we are, from the environment; the live address is never reached by accident."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from hedgefund_core.errors import ConfigError

PAPER_TRADING = "https://paper-api.alpaca.markets"
LIVE_TRADING = "https://api.alpaca.markets"
DATA = "https://data.alpaca.markets"
DATA_STREAM = "wss://stream.data.alpaca.markets/v2/iex"
_LIVE_HOST = "api.alpaca.markets"
_MEND = "set ALPACA_API_KEY and ALPACA_SECRET_KEY (https://app.alpaca.markets; see .env.example)"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Four addresses and two keys. REST addresses carry no version path, stream addresses are whole. Keys are never shown."""

    trading: str
    data: str
    trading_stream: str
    data_stream: str
    api_key: str = dataclasses.field(repr=False)
    secret_key: str = dataclasses.field(repr=False)
    live: bool = False

    @property
    def feed(self) -> str:
        """Name of the data feed: the last part of the stream's path (iex, sip, ...). It is part of what data are."""
        return urlsplit(self.data_stream).path.rstrip("/").rsplit("/", 1)[-1] or "iex"

    @property
    def holder(self) -> str:
        """A name for key and trading address that tells neither: whoever shares it shares the account's connections."""
        return hashlib.sha256(f"{self.api_key}@{self.trading}".encode()).hexdigest()[:16]

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"APCA-API-KEY-ID": self.api_key, "APCA-API-SECRET-KEY": self.secret_key}


def read_endpoints(env: Mapping[str, str], *, live: bool = False) -> Endpoints:
    """Read the six variables; unset addresses are Alpaca's paper ones, or with ``live`` its live ones.

    Raises
    ------
    ConfigError : a key is missing, an address is none, or one of Alpaca's live addresses was given without ``live``.
    """
    key, secret = _required(env, "ALPACA_API_KEY"), _required(env, "ALPACA_SECRET_KEY")
    trading = _rest(env, "ALPACA_TRADING_URL") or (LIVE_TRADING if live else PAPER_TRADING)
    data = _rest(env, "ALPACA_DATA_URL") or DATA
    stream = _stream(env, "ALPACA_TRADING_STREAM_URL") or _stream_beside(trading, "/stream")
    data_stream = _stream(env, "ALPACA_DATA_STREAM_URL") or (DATA_STREAM if data == DATA else _stream_beside(data, "/v2/iex"))
    if not live:
        for name, address in (("ALPACA_TRADING_URL", trading), ("ALPACA_TRADING_STREAM_URL", stream)):
            if urlsplit(address).hostname == _LIVE_HOST:
                mend = f"give --live if real money is meant, else unset {name}"
                raise ConfigError(f"{name}: {address} is Alpaca's live address, and live trading was not asked for", mend=mend)
    return Endpoints(trading=trading, data=data, trading_stream=stream, data_stream=data_stream, api_key=key, secret_key=secret, live=live)


def _required(env: Mapping[str, str], name: str) -> str:
    value = _given(env, name)
    if not value or not value.isprintable() or not value.isascii():
        raise ConfigError(f"{name} is {'not set' if not value else 'no key: it has odd characters'}", mend=_MEND)
    return value


def _given(env: Mapping[str, str], name: str) -> str:
    """What a variable says; some readers of environment files leave the quotes on."""
    value = (env.get(name) or "").strip()
    return value[1:-1].strip() if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _rest(env: Mapping[str, str], name: str) -> str:
    """An http address without version path; the path is forgiven."""
    address = _address(env, name, ("http", "https"))
    return address.removesuffix("/v2").rstrip("/")


def _stream(env: Mapping[str, str], name: str) -> str:
    return _address(env, name, ("ws", "wss"))


def _address(env: Mapping[str, str], name: str, schemes: tuple[str, str]) -> str:
    value = _given(env, name).rstrip("/")
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if "@" in value:
        raise ConfigError(f"{name} holds a user or a password, which would be shown in messages", mend=f"take them out of {name}: {_MEND}")
    if not good:
        raise ConfigError(
            f"{name}: {value!r} is no {' or '.join(schemes)} address", mend=f"correct {name}, for example {schemes[0]}://127.0.0.1:9000"
        )
    return value


def _stream_beside(rest: str, path: str) -> str:
    """The stream of the same server: orders sent to one and events heard from another could never agree."""
    parts = urlsplit(rest)
    return urlunsplit(("wss" if parts.scheme == "https" else "ws", parts.netloc, path, "", ""))
