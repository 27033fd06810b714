"""HTTP requests over kept-alive connections, bounded in number and time. A POST is sent once and never repeated.

Errors tell the caller whether the server can have acted on a request: `NothingSentError` says that it cannot, `NoAnswerError` that it may.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from hedgefund_core.errors import BrokerUnavailable, ConfigError
from live_executor.brokers.alpaca.budget import Budget, Lane
from live_executor.brokers.alpaca.endpoints import Endpoints
from live_executor.ports import UNREADABLE, MayLeave
from live_executor.streams import Surroundings

if TYPE_CHECKING:
    import aiohttp

MEND = "see whether the broker answers: executor doctor; what is open is looked up again by itself"
_NOT_IMPLEMENTED = 501
"""The one 5xx that asking again does not change."""
_LARGEST = 64 << 20
"""Bytes of an answer; all assets are a tenth of that. What goes on and on would take the memory of everything else."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CREDENTIALS_MEND = "check ALPACA_API_KEY and ALPACA_SECRET_KEY: paper keys work at the paper address only"


class RequestTiming(msgspec.Struct, frozen=True, kw_only=True):
    """All durations in seconds."""

    connect: float = 2.0
    read: float = 5.0
    patience: float = 10.0
    """Longest wait for the rate limit"""
    attempts: int = 3
    """Of a GET or DELETE; a POST has one."""
    pause: float = 0.2
    """Before the second attempt; then doubled, with jitter"""


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NothingSentError(Exception):
    """Not a byte of the request has left."""


class NoAnswerError(Exception):
    """The request may have arrived; its answer did not."""


class Transport:
    """One server, one set of keys, one budget."""

    def __init__(
        self,
        base: str,
        endpoints: Endpoints,
        *,
        budget: Budget,
        surroundings: Surroundings,
        timing: RequestTiming | None = None,
    ) -> None:
        self._base, self._headers = base, endpoints.headers | {"Content-Type": "application/json", "Accept": "application/json"}
        self.budget, self.timing = budget, timing or RequestTiming()
        self._rng, self._sleep = surroundings.rng, surroundings.sleep
        self._session: aiohttp.ClientSession | None = None

    async def post(self, path: str, body: bytes, lane: Lane, may_leave: MayLeave | None = None) -> Answer:
        """Send once, unless ``may_leave`` says no once the rate limit allows it.

        Raises NothingSentError, NoAnswerError, or BrokerUnavailable where the rate limit allows none in time.
        """
        await self.budget.enter(lane, self.timing.patience)
        if may_leave is not None and not may_leave():
            self.budget.leave()
            raise NothingSentError("it may not leave any more")
        return await self._exchange("POST", path, body)

    async def get(self, path: str, params: Mapping[str, str] | None = None, lane: Lane = Lane.READ) -> Answer:
        """Ask, again where that may help. Raises BrokerUnavailable, or ConfigError where the keys are refused."""
        return await self._insist("GET", path, params, lane)

    async def delete(self, path: str) -> Answer:
        """Ask for a cancel, again where that may help; errors as for `get`."""
        return await self._insist("DELETE", path, None, Lane.CANCEL)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _insist(self, method: str, path: str, params: Mapping[str, str] | None, lane: Lane) -> Answer:
        problem = ""
        for attempt in range(self.timing.attempts):
            if attempt:
                await self._sleep(self.timing.pause * 2 ** (attempt - 1) * (0.5 + self._rng.random()))
            await self.budget.enter(lane, self.timing.patience)
            try:
                answer = await self._exchange(method, path, None, params)
            except (NothingSentError, NoAnswerError) as error:
                problem = str(error)
                continue
            # Servers refuse good keys now and then by mistake: of several attempts only the last refusal counts.
            refused = answer.status == 401 and attempt + 1 < self.timing.attempts
            if (answer.status < 500 or answer.status == _NOT_IMPLEMENTED) and answer.status != 429 and not refused:
                return checked(answer, f"{method} {path}")
            problem = f"HTTP {answer.status}"
        raise BrokerUnavailable(f"{method} {path}: {problem} ({self.timing.attempts} attempts)", mend=MEND)

    async def _exchange(self, method: str, path: str, body: bytes | None, params: Mapping[str, str] | None = None) -> Answer:
        """One request, one answer. The place in the budget is given back in any case."""
        import aiohttp

        headers: Mapping[str, str] | None = None
        status = 0
        try:
            session = self._session or self._open()
            async with session.request(method, self._base + path, data=body, params=params, allow_redirects=False) as response:
                raw = (await _body(response)).removeprefix(_BYTE_ORDER_MARK)
                headers, status = response.headers, response.status
                if status == 429:
                    self.budget.refused(headers)
                return Answer(status=status, headers=headers, body=raw)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise NothingSentError(f"cannot reach {self._base}: {_said(error)}") from error
        except TimeoutError as error:
            raise NoAnswerError(f"no answer from {self._base} in time") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswerError(f"no answer from {self._base}: {_said(error)}") from error
        finally:
            self.budget.leave(headers, allowed=status != 429)

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        timing = self.timing
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0, enable_cleanup_closed=False),
            timeout=aiohttp.ClientTimeout(
                total=timing.connect + timing.read, connect=timing.connect, sock_connect=timing.connect, sock_read=timing.read
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
            trust_env=False,
        )
        return self._session


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """All of an answer; raises ValueError where it is too long."""
    parts, size = list[bytes](), 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > _LARGEST:
            raise ValueError(f"more than {_LARGEST} bytes")
    return b"".join(parts)


def checked(answer: Answer, what: str) -> Answer:
    """The answer, unless it says that the keys are no good."""
    if answer.status == 403 and answer.body.lstrip()[:1] == b"<":
        raise BrokerUnavailable(f"{what}: a web page instead of an answer (HTTP 403)", mend=MEND)
    if answer.status == 401 or (answer.status == 403 and not trading_reason(answer)):
        raise ConfigError(f"{what}: the broker refuses the credentials (HTTP {answer.status})", mend=CREDENTIALS_MEND)
    return answer


_WORDS = ("message", "msg", "error", "detail", "reason")
"""Where servers put the sentence."""


def problem_of(answer: Answer) -> tuple[str, str] | None:
    """Code and sentence of an error body; None where the body is no JSON object that says something (HTML, empty, cut off)."""
    try:
        found = msgspec.json.decode(answer.body, type=dict[str, object])
    except UNREADABLE:
        return None
    sentence = next((said for key in _WORDS if isinstance(said := found.get(key), str)), None)
    if sentence is None and not any(found.values()):
        return None
    if sentence is None:
        sentence = msgspec.json.encode(found).decode()
    more = found.get("reject_reason")
    return str(found.get("code") or ""), (f"{sentence} ({more})" if more else sentence)[:500]


def trading_reason(answer: Answer) -> str:
    """Why an order was refused, empty where a 403 is about the keys and not about an order."""
    problem = problem_of(answer)
    if problem is None:
        return ""
    code, sentence = problem
    return sentence if code or sentence.strip(". ").lower() not in {"forbidden", "unauthorized", "access denied"} else ""


def _said(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:200]
