"""The parts of the HTTP framework one by one: time is made up, files and sockets are real."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_dagster.sources.http.breaker import Breaker, BreakerStatus
from hedgefund_dagster.sources.http.content import csv_of, json_of, number
from hedgefund_dagster.sources.http.declaration import Access, Quota
from hedgefund_dagster.sources.http.faults import Garbled, Transient
from hedgefund_dagster.sources.http.paging import walk_pages
from hedgefund_dagster.sources.http.pulse import Pulse
from hedgefund_dagster.sources.http.quota import SharedQuota
from hedgefund_dagster.sources.http.retry import RetryPolicy, parse_retry_after
from hedgefund_dagster.sources.http.transport import Bounds, Transport
from hedgefund_dagster.sources.source import RawPayload
from tests.contract.vendors.loopback import Exchange, Fault, serving

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class FakeTime:
    """Time that passes only by waiting."""

    now: datetime = NOW
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += timedelta(seconds=seconds)

    def pulse(self) -> Pulse:
        return Pulse(now=lambda: self.now, sleep=self.sleep, chance=lambda: 0.5, elapsed=time.perf_counter)


# -------------------------------------------------------------------------------------------------------------- quota


@given(
    gaps=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=60),
    windows=st.lists(st.tuples(st.integers(1, 7), st.sampled_from([1.0, 5.0, 60.0])), min_size=1, max_size=3, unique_by=lambda w: w[1]),
)
def test_no_window_ever_holds_more_than_its_quota(tmp_path_factory, gaps, windows):
    clock = FakeTime()
    quotas = tuple(Quota(requests=requests, seconds=seconds) for requests, seconds in windows)
    path = tmp_path_factory.mktemp("quota") / "quota.json"
    callers = [SharedQuota("v", quotas, path, clock.pulse(), patience_seconds=1e9) for _ in range(2)]
    moments: list[float] = []
    for turn, gap in enumerate(gaps):
        clock.now += timedelta(seconds=gap)
        callers[turn % 2].take()
        moments.append(clock.now.timestamp())
    for quota in quotas:
        for start in moments:
            inside = [moment for moment in moments if start <= moment < start + quota.seconds - 1e-6]
            assert len(inside) <= quota.requests


def test_a_full_quota_is_used_at_once_and_then_waits_hardly_longer_than_needed(tmp_path):
    clock = FakeTime()
    quota = SharedQuota("v", (Quota(requests=5, seconds=60.0),), tmp_path / "q.json", clock.pulse())
    for _ in range(5):
        quota.take()
    assert clock.waits == []
    assert quota.left() == {"5 in 60 s": 0}
    quota.take()
    assert 59.0 <= sum(clock.waits) <= 61.1


def test_a_long_wait_is_an_error_that_says_how_long(tmp_path):
    clock = FakeTime()
    quota = SharedQuota("tiny", (Quota(requests=1, seconds=86_400.0),), tmp_path / "q.json", clock.pulse())
    quota.take()
    with pytest.raises(DataUnavailable, match=r"tiny: the quota is used up for \d+ s more \(1 requests in 86400 s\)"):
        quota.take()
    assert clock.waits == []


def test_silence_the_vendor_asked_for_is_kept_by_all(tmp_path):
    clock = FakeTime()
    one, other = (SharedQuota("v", (Quota(requests=100, seconds=1.0),), tmp_path / "q.json", clock.pulse()) for _ in range(2))
    one.hold(30.0)
    other.take()
    assert sum(clock.waits) == pytest.approx(30.0)


def test_a_clock_set_back_does_not_block(tmp_path):
    clock = FakeTime()
    quota = SharedQuota("v", (Quota(requests=1, seconds=10.0),), tmp_path / "q.json", clock.pulse())
    quota.take()
    clock.now -= timedelta(days=1)
    quota.take()
    assert sum(clock.waits) <= 11.0


def test_a_damaged_state_file_is_an_empty_one(tmp_path):
    (tmp_path / "q.json").write_text('{"counts": [')
    SharedQuota("v", (Quota(requests=1, seconds=10.0),), tmp_path / "q.json", FakeTime().pulse()).take()


_TAKER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from hedgefund_dagster.sources.http.declaration import Quota
from hedgefund_dagster.sources.http.pulse import real_pulse
from hedgefund_dagster.sources.http.quota import SharedQuota
quota = SharedQuota("v", (Quota(requests=4, seconds=0.6),), Path(sys.argv[1]), real_pulse(lambda: datetime.now(UTC)))
for _ in range(4):
    quota.take()
    print(time.time())
"""


def test_processes_share_one_quota(tmp_path):
    command = [sys.executable, "-c", _TAKER, str(tmp_path / "q.json")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True) for _ in range(2)]
    moments = sorted(float(line) for process in started for line in process.communicate(timeout=60)[0].split())
    assert len(moments) == 8
    # Each moment is printed a little after its permit was written: a fifth of the window is left for that.
    assert all(later - earlier >= 0.48 for earlier, later in zip(moments, moments[4:], strict=False))


# ------------------------------------------------------------------------------------------- the breaker


def failing(breaker: Breaker, *, breaks: bool = True) -> None:
    with pytest.raises(Transient), breaker.attempt():
        raise Transient("status 503", breaks=breaks)


def opened(tmp_path: Path, clock: FakeTime) -> Breaker:
    breaker = Breaker("v", tmp_path / "b.json", clock.pulse(), threshold=3, rest_seconds=60.0, permit_seconds=20.0)
    for _ in range(3):
        failing(breaker)
    return breaker


def test_after_failures_in_a_row_nobody_asks(tmp_path):
    breaker = opened(tmp_path, FakeTime())
    assert breaker.status is BreakerStatus.OPEN
    with pytest.raises(DataUnavailable, match="60 s more after 3 failures, the last: status 503"), breaker.attempt():
        pytest.fail("the breaker let a request through")


def test_a_success_between_failures_keeps_it_closed(tmp_path):
    breaker = Breaker("v", tmp_path / "b.json", FakeTime().pulse(), threshold=3)
    for _ in range(5):
        failing(breaker)
        failing(breaker)
        with breaker.attempt():
            pass
    assert breaker.status is BreakerStatus.CLOSED
    assert breaker.state.last_success == NOW.timestamp()


def test_half_open_lets_exactly_one_through(tmp_path):
    clock = FakeTime()
    breaker = opened(tmp_path, clock)
    other_process = Breaker("v", tmp_path / "b.json", clock.pulse(), threshold=3, rest_seconds=60.0, permit_seconds=20.0)
    clock.now += timedelta(seconds=61)
    assert breaker.status is BreakerStatus.HALF_OPEN
    with breaker.attempt():
        for _ in range(10):
            with pytest.raises(DataUnavailable), other_process.attempt():
                pytest.fail("a second request got through")
    assert other_process.status is BreakerStatus.CLOSED


def test_a_failed_try_opens_it_again_and_a_lost_permit_lapses(tmp_path):
    clock = FakeTime()
    breaker = opened(tmp_path, clock)
    clock.now += timedelta(seconds=61)
    failing(breaker)
    assert breaker.status is BreakerStatus.OPEN
    clock.now += timedelta(seconds=61)
    dead = breaker.attempt()
    dead.__enter__()  # a process that died here never comes back
    with pytest.raises(DataUnavailable), breaker.attempt():
        pytest.fail("the permit was taken")
    clock.now += timedelta(seconds=21)
    with breaker.attempt():
        pass
    assert breaker.status is BreakerStatus.CLOSED


def test_what_is_not_the_vendors_breakdown_gives_the_permit_back(tmp_path):
    clock = FakeTime()
    breaker = opened(tmp_path, clock)
    clock.now += timedelta(seconds=61)
    failing(breaker, breaks=False)
    with pytest.raises(DataInvalid), breaker.attempt():
        raise DataInvalid("not the connection's fault")
    with breaker.attempt():
        pass
    assert breaker.status is BreakerStatus.CLOSED


# -------------------------------------------------------------------------------------------------------------- retry


def test_pauses_double_with_jitter_and_are_bounded():
    policy = RetryPolicy(first_seconds=1.0, longest_seconds=8.0)
    assert [policy.pause(n, None, 0.0) for n in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]
    assert policy.pause(0, None, 0.999) == pytest.approx(1.0, abs=1e-3)
    assert policy.pause(0, 30.0, 0.5) == 30.5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Mon, 05 Jan 2026 12:01:00 GMT", 60.0),
        ("Mon, 05 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(text, seconds):
    assert parse_retry_after(text, NOW) == seconds


# ---------------------------------------------------------------------------------------------------------- transport


def exchange(body: bytes, **headers: str) -> Exchange:
    return Exchange(page="", path="/x", query={}, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body)


def transport(**bounds: float) -> Transport:
    return Transport("v", Bounds(**{"read_seconds": 5.0, **bounds}), FakeTime().pulse())


def test_packed_bodies_are_unpacked():
    with serving() as server:
        server.exchanges = [exchange(gzip.compress(b"x" * 100_000), Content_Encoding="gzip")]
        assert transport().get(f"{server.url}/x", {}).body == b"x" * 100_000


def test_a_packed_bomb_is_cut_off_before_it_is_large():
    bomb = gzip.compress(b"0" * 200_000_000, 1)
    with serving() as server:
        server.exchanges = [exchange(bomb, Content_Encoding="gzip")]
        with pytest.raises(DataInvalid, match="larger than 1,000,000 bytes"):
            transport(max_body_bytes=1_000_000).get(f"{server.url}/x", {})


def test_packed_bodies_that_are_cut_or_damaged_may_be_tried_again():
    packed = gzip.compress(os.urandom(10_000))
    with serving() as server:
        for body in (packed[:-5], packed[:50] + b"\x00" * 200 + packed[250:], b"not packed at all"):
            server.exchanges = [exchange(body, Content_Encoding="gzip")]
            with pytest.raises(Transient, match="packed body"):
                transport().get(f"{server.url}/x", {})


def test_a_packing_nobody_asked_for_is_refused():
    with serving() as server:
        server.exchanges = [exchange(b"?", Content_Encoding="br")]
        with pytest.raises(DataInvalid, match="'br'"):
            transport().get(f"{server.url}/x", {})


def test_a_body_that_drips_is_given_up():
    with serving() as server:
        server.always = Fault(kind="huge")
        with pytest.raises(Transient, match="not complete"):
            transport(whole_seconds=0.0, max_body_bytes=10**12).get(f"{server.url}/x", {})


def test_a_server_that_is_not_there_may_be_tried_again():
    with serving() as server:
        gone = server.url
    with pytest.raises(Transient, match="connection failed"):
        transport().get(f"{gone}/x", {})


def test_a_redirect_on_the_host_is_followed():
    with serving() as server:
        server.exchanges = [exchange(b"here")]
        server.faults = [Fault(kind="status", status=307, headers={"Location": "/x"})]
        assert transport().get(f"{server.url}/old", {}).body == b"here"


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/x", "https://example.org/x", "file:///etc/passwd", "", "//localhost/x"])
def test_a_redirect_elsewhere_is_not(location):
    with serving() as server:
        server.faults = [Fault(kind="status", status=302, headers={"Location": location})]
        with pytest.raises(DataUnavailable, match="another host"):
            transport().get(f"{server.url}/x", {})
        assert len(server.seen) == 1


# ---------------------------------------------------------------------------------------------------- content, paging


def payload(content: bytes) -> RawPayload:
    return RawPayload.of("v", "d", content, origin="https://v/x", retrieved_at=NOW, ending=".json")


def test_a_csv_names_what_is_wrong_with_it():
    assert csv_of(payload(b"\xef\xbb\xbfA, B\r\n1, 2\r\n\r\n"), ("A", "B")) == [{"A": "1", "B": "2"}]
    with pytest.raises(DataInvalid, match="`C` is missing; found: A, B"):
        csv_of(payload(b"A,B\n1,2\n"), ("C",))
    with pytest.raises(Garbled, match="row 2 has 1 cells instead of 2"):
        csv_of(payload(b"A,B\n1,2\n3\n"), ("A",))


def test_json_is_whole_or_nothing():
    assert json_of(payload(b'{"a": "1.5", "b": 2}'), dict[str, float]) == {"a": 1.5, "b": 2.0}
    assert json_of(payload(b'\xef\xbb\xbf{"a": 1}'), dict[str, float]) == {"a": 1.0}, "a mark of the byte order is no garbage"
    for broken in (b'{"a": 1', b'{"a": 1} trailing', b'{"a": NaN}', b"Just a moment"):
        with pytest.raises(DataInvalid, match="https://v/x"):
            json_of(payload(broken), dict[str, float])


@pytest.mark.parametrize("cell", ["abc", "1,5", "inf", "-inf", "nan", "1e999"])
def test_a_cell_that_is_no_number_is_named(cell):
    with pytest.raises(DataInvalid, match=r"row 3, field `CLOSE`"):
        number(payload(b""), 3, "CLOSE", cell)


def test_pages_end_even_if_the_vendor_does_not():
    assert walk_pages("v", lambda cursor: cursor, {"": "a", "a": "b", "b": ""}.__getitem__) == ["", "a", "b"]
    with pytest.raises(DataInvalid, match="points back"):
        walk_pages("v", lambda cursor: cursor, {"": "a", "a": "b", "b": "a"}.__getitem__)
    with pytest.raises(DataInvalid, match="more than 50 pages"):
        walk_pages("v", lambda cursor: f"{cursor}x", lambda page: page, max_pages=50)


def test_a_json_payload_is_not_mistaken_for_its_sidecar():
    assert payload(b"{}").suffix == ".json.raw"
    csv = RawPayload.of("v", "d", b"", origin="https://v/a.b/x?y=1.2/../3", retrieved_at=NOW, ending=".csv")
    assert csv.suffix == ".csv"


def test_secrets_are_not_in_what_is_shown():
    access = Access(base_urls={"": "https://v"}, user_agent="me", secrets={"KEY": "canary"})
    assert "canary" not in repr(access)
    assert access.scrub("your key canary is bad") == "your key *** is bad"
