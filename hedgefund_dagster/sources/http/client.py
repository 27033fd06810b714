"""The client an adapter asks with: cache, breaker, quota, transport, content check and retry, in that order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urlencode

from hedgefund_core.errors import DataUnavailable, HedgefundError
from hedgefund_dagster.sources.http.breaker import Breaker, BreakerState, BreakerStatus
from hedgefund_dagster.sources.http.cache import CacheEntry, LayerCounts, LayeredCache, disk_cache
from hedgefund_dagster.sources.http.content import refuse_page
from hedgefund_dagster.sources.http.declaration import Access, VendorFacts
from hedgefund_dagster.sources.http.faults import Garbled, Transient
from hedgefund_dagster.sources.http.pulse import Pulse
from hedgefund_dagster.sources.http.quota import SharedQuota
from hedgefund_dagster.sources.http.retry import RetryPolicy, parse_retry_after
from hedgefund_dagster.sources.source import RawPayload

if TYPE_CHECKING:
    from hedgefund_dagster.sources.http.transport import Answer, Bounds

T = TypeVar("T")
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One GET. ``params`` hold no secret: keys are added by the client. ``ending`` names the kind of file we keep.

    ``shared``: several data sets are read off one answer, so that it is good for the next of them for a while, whatever age it states.
    """

    dataset: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    base: str = ""
    ending: str = ".json"
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched(Generic[T]):
    """What the check made of a payload, and the payload itself."""

    value: T
    payload: RawPayload


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorStatus:
    """What a doctor wants to know without asking the vendor."""

    breaker: BreakerStatus
    history: BreakerState
    quota_left: Mapping[str, int]
    cache: Mapping[str, LayerCounts]


class HttpClient:
    """One vendor's client; all its waiting, counting and keeping happens under ``folder`` and is shared by processes."""

    def __init__(
        self,
        facts: VendorFacts,
        access: Access,
        folder: Path,
        pulse: Pulse,
        *,
        retry: RetryPolicy | None = None,
        bounds: Bounds | None = None,
        cache: LayeredCache | None = None,
    ) -> None:
        from hedgefund_dagster.sources.http.transport import Bounds, Transport

        self._facts = facts
        self._access = access
        self._pulse = pulse
        self._retry = retry or RetryPolicy()
        self._cache = cache or disk_cache(folder, pulse)
        self._quota = SharedQuota(facts.name, facts.quotas, folder / "quota.json", pulse)
        self._breaker = Breaker(facts.name, folder / "breaker.json", pulse)
        self._transport = Transport(facts.name, bounds or Bounds(max_body_bytes=facts.max_body_bytes), pulse)

    def get(self, ask: Ask, check: Callable[[RawPayload], T]) -> Fetched[T]:
        """The payload and what ``check`` reads in it.

        Raises
        ------
        DataUnavailable
            The vendor cannot be reached, is over its quota or refuses; names source, address without secrets, reason.
        DataInvalid
            The payload is not what was asked for: raised by ``check``, or the body is too large or packed unreadably.
        """
        kept = self._fresh(ask, check)
        if kept is not None:
            return kept
        for attempt in range(self._retry.attempts):
            last = attempt + 1 == self._retry.attempts
            try:
                return self._attempt(ask, check)
            except Transient as fault:
                if last or (fault.retry_after or 0.0) > self._retry.longest_retry_after:
                    raise self._unavailable(ask, fault, attempt + 1) from None
                pause = self._retry.pause(attempt, fault.retry_after, self._pulse.chance())
            except Garbled:
                if last:
                    raise
                pause = self._retry.pause(attempt, None, self._pulse.chance())
            self._pulse.sleep(pause)
        raise DataUnavailable(f"{self._facts.name}: no attempt is allowed")  # attempts <= 0

    def status(self) -> VendorStatus:
        """Breaker and quota as they stand, and what the cache was worth to this client."""
        return VendorStatus(
            breaker=self._breaker.status, history=self._breaker.state, quota_left=self._quota.left(), cache=self._cache.counts()
        )

    def now(self) -> datetime:
        """The time it is, for adapters that must not ask for what is not out yet."""
        return self._pulse.now()

    def origin(self, ask: Ask) -> str:
        """The address without secrets: what is kept, cached and named in errors."""
        query = urlencode(sorted(ask.params.items()))
        return f"{self._access.base_urls[ask.base].rstrip('/')}{ask.path}{'?' if query else ''}{query}"

    def _fresh(self, ask: Ask, check: Callable[[RawPayload], T]) -> Fetched[T] | None:
        """A kept answer the vendor said is still good, as old as it is: what it says of a session still open stays unfinished."""
        found = self._cache.find(self.origin(ask))
        if found is None or found[0].fresh_until <= self._pulse.now().timestamp():
            return None
        payload = self._payload(ask, found[1], found[0].retrieved_at)
        try:
            return Fetched(value=check(payload), payload=payload)
        except HedgefundError:
            self._cache.forget(payload.origin)
            return None

    def _attempt(self, ask: Ask, check: Callable[[RawPayload], T]) -> Fetched[T]:
        origin = self.origin(ask)
        kept = self._cache.find(origin)
        url, headers = self._addressed(ask, {} if kept is None else kept[0].validators())
        with self._breaker.attempt():
            self._quota.take()
            answer = self._transport.get(url, headers)
            self._judge(ask, answer)
        if answer.status == 304:
            return self._unchanged(ask, check, kept, answer)
        payload = self._payload(ask, answer.body, self._pulse.now())
        value = self._checked(payload, answer.headers.get("content-type", ""), check)
        self._keep(ask, payload, answer.headers)
        return Fetched(value=value, payload=payload)

    def _unchanged(self, ask: Ask, check: Callable[[RawPayload], T], kept: tuple[CacheEntry, bytes] | None, answer: Answer) -> Fetched[T]:
        """The kept answer, which the vendor says still holds; one we cannot use is forgotten and asked for again, whole."""
        if kept is None:
            raise Transient("status 304 though nothing was kept")
        payload = self._payload(ask, kept[1], self._pulse.now())
        try:
            value = check(payload)
        except HedgefundError:
            self._cache.forget(payload.origin)
            raise Transient("status 304, but what was kept cannot be read any more") from None
        named = {"etag": kept[0].etag, "last-modified": kept[0].last_modified}
        self._keep(ask, payload, {**named, **answer.headers})
        return Fetched(value=value, payload=payload)

    def _keep(self, ask: Ask, payload: RawPayload, headers: Mapping[str, str]) -> None:
        self._cache.keep(payload.origin, payload.content, headers, payload.retrieved_at, shared=ask.shared)

    def _checked(self, payload: RawPayload, content_type: str, check: Callable[[RawPayload], T]) -> T:
        """What the check reads; its complaint may quote the payload, and the payload may quote our key."""
        try:
            refuse_page(payload, content_type)
            return check(payload)
        except HedgefundError as error:
            raise type(error)(self._access.scrub(error.message), mend=error.mend) from None

    def _addressed(self, ask: Ask, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        """Address and headers with the keys in them: these never leave the client."""
        headers = {**headers, "User-Agent": self._access.user_agent, "Accept": "*/*"}
        params = dict(ask.params)
        for rule in self._facts.keys:
            secret = self._access.secrets.get(rule.variable, "")
            if rule.parameter:
                params[rule.parameter] = secret
            if rule.header:
                headers[rule.header] = f"{rule.prefix}{secret}"
        base = f"{self._access.base_urls[ask.base].rstrip('/')}{ask.path}"
        return (f"{base}?{urlencode(sorted(params.items()))}" if params else base), headers

    def _judge(self, ask: Ask, answer: Answer) -> None:
        """Turn a status that is no answer into its fault."""
        if answer.status in (200, 304):
            return
        said = self._access.scrub(answer.body[:200].decode("utf-8", "replace")).strip()
        reason = f"status {answer.status}{f', {said!r}' if said else ''}"
        if answer.status in _TRY_AGAIN:
            wish = parse_retry_after(answer.headers.get("retry-after"), self._pulse.now())
            if wish is not None:
                self._quota.hold(wish)
            raise Transient(reason, retry_after=wish, breaks=answer.status != 429)
        names = ", ".join(rule.variable for rule in self._facts.keys)
        mend = f"check {names} in .env" if answer.status in (401, 403) and names else f"see {self._facts.documentation}"
        raise DataUnavailable(f"{self._facts.name}: {self.origin(ask)}: {reason}", mend=mend)

    def _payload(self, ask: Ask, content: bytes, retrieved_at: datetime) -> RawPayload:
        return RawPayload.of(self._facts.name, ask.dataset, content, origin=self.origin(ask), retrieved_at=retrieved_at, ending=ask.ending)

    def _unavailable(self, ask: Ask, fault: Transient, attempts: int) -> DataUnavailable:
        wish = "" if fault.retry_after is None else f"; it asks to wait {fault.retry_after:.0f} s"
        message = f"{self._facts.name}: {self.origin(ask)}: {self._access.scrub(fault.reason)} after {attempts} attempt(s){wish}"
        return DataUnavailable(message, mend="wait and materialize the asset again; what is stored stays readable")
