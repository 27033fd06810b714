"""The cache's layers one by one: what may be kept and for how long, and that whatever is lost or damaged is a miss."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgefund_core.configuration import CacheSettings
from hedgefund_core.errors import ConfigError
from hedgefund_dagster.sources.http.cache import LayerCounts, LayeredCache, disk_cache, open_cache, read_totals, seal, unseal
from hedgefund_dagster.sources.http.cache_layers import DiskLayer, LayerFault, Memory, MemoryLayer
from hedgefund_dagster.sources.http.pulse import Pulse

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
PULSE = Pulse(now=lambda: NOW, sleep=lambda _: None, chance=lambda: 0.5, elapsed=lambda: 0.0)
ETAG = {"etag": '"1"'}
URL = "https://v/x"


def cache_of(folder: Path) -> LayeredCache:
    return disk_cache(folder, PULSE)


def test_an_answer_is_fresh_for_its_age_and_then_has_validators(tmp_path):
    cache = cache_of(tmp_path)
    cache.keep(URL, b"body", {"cache-control": "public, max-age=60", "etag": '"1"', "last-modified": "then"}, NOW)
    entry, body = cache.find(URL) or pytest.fail("not kept")
    assert body == b"body"
    assert entry.fresh_until == NOW.timestamp() + 60
    assert entry.validators() == {"If-None-Match": '"1"', "If-Modified-Since": "then"}


@pytest.mark.parametrize("headers", [{}, {"cache-control": "no-store, max-age=60", "etag": '"1"'}, {"cache-control": "max-age=0"}])
def test_what_may_not_or_cannot_be_reused_is_not_kept(tmp_path, headers):
    cache = cache_of(tmp_path)
    cache.keep(URL, b"body", headers, NOW)
    assert cache.find(URL) is None


def test_no_cache_means_ask_with_the_validator(tmp_path):
    cache = cache_of(tmp_path)
    cache.keep(URL, b"body", {"cache-control": "no-cache, max-age=60", "etag": '"1"'}, NOW)
    entry, _ = cache.find(URL) or pytest.fail("not kept")
    assert entry.fresh_until == NOW.timestamp()


def test_an_answer_of_several_data_sets_is_good_for_a_while_unless_it_may_not_be_stored(tmp_path):
    cache = cache_of(tmp_path)
    cache.keep(URL, b"body", {"cache-control": "max-age=10"}, NOW, shared=True)
    entry, _ = cache.find(URL) or pytest.fail("not kept")
    assert entry.fresh_until == NOW.timestamp() + 300.0
    cache.keep("https://v/y", b"body", {"cache-control": "no-store"}, NOW, shared=True)
    assert cache.find("https://v/y") is None


@pytest.mark.parametrize("damage", [lambda b: b[:-2], lambda _: b"", lambda b: b"\x00" * len(b), lambda b: b.replace(b"body", b"evil")])
def test_a_damaged_entry_is_a_miss_and_is_forgotten(tmp_path, damage):
    cache = cache_of(tmp_path)
    cache.keep(URL, b"body", ETAG, NOW)
    (path,) = tmp_path.rglob("*.entry")
    path.write_bytes(damage(path.read_bytes()))
    assert cache.find(URL) is None
    assert not path.exists()
    assert cache.counts()["disk"].errors == 1


def test_an_entry_of_another_address_is_a_miss(tmp_path):
    cache = cache_of(tmp_path)
    for url in (URL, "https://v/y"):
        cache.keep(url, url.encode(), ETAG, NOW)
    one, other = sorted(tmp_path.rglob("*.entry"))
    other.write_bytes(one.read_bytes())
    found = [found[1] for url in (URL, "https://v/y") if (found := cache.find(url)) is not None]
    assert len(found) == 1


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = LayeredCache((DiskLayer(tmp_path / "file" / "cache"),), PULSE)
    cache.keep(URL, b"body", ETAG, NOW)
    assert cache.find(URL) is None
    assert cache.counts()["disk"].errors >= 1


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_is_never_served(body, place, byte):
    entry = cache_entry(body)
    sealed = bytearray(seal(entry, body))
    assert unseal(URL, bytes(sealed)) == (entry, body)
    sealed[place % len(sealed)] = byte
    found = unseal(URL, bytes(sealed))
    assert found is None or found[1] == body


def cache_entry(body: bytes):
    kept = {}

    class Catching:
        name = "catching"

        def get(self, key: str) -> bytes | None:
            return kept.get(key)

        def put(self, key: str, sealed: bytes, seconds: float) -> None:
            kept[key] = sealed

        def drop(self, key: str) -> None:
            kept.pop(key, None)

    cache = LayeredCache((Catching(),), PULSE)
    cache.keep(URL, body, ETAG, NOW)
    found = cache.find(URL)
    assert found is not None
    return found[0]


# --------------------------------------------------------------------------------------------------------------- layers


class Broken:
    """A layer that fails at everything."""

    name = "broken"

    def get(self, key: str) -> bytes | None:
        raise LayerFault

    def put(self, key: str, sealed: bytes, seconds: float) -> None:
        raise LayerFault

    def drop(self, key: str) -> None:
        raise LayerFault


def test_a_slower_layer_gives_back_what_a_faster_one_lost(tmp_path):
    memory = Memory(10_000)
    cache = LayeredCache((MemoryLayer(memory, tmp_path), DiskLayer(tmp_path / "cache")), PULSE)
    cache.keep(URL, b"body", ETAG, NOW)
    assert cache.find(URL) is not None
    later = LayeredCache((MemoryLayer(Memory(10_000), tmp_path), DiskLayer(tmp_path / "cache")), PULSE)
    assert [later.find(URL) is not None for _ in range(2)] == [True, True]
    assert later.counts() == {"memory": LayerCounts(hits=1, misses=1), "disk": LayerCounts(hits=1)}


def test_a_broken_layer_anywhere_changes_no_answer(tmp_path):
    for layers in ((Broken(), DiskLayer(tmp_path / "a")), (DiskLayer(tmp_path / "b"), Broken())):
        cache = LayeredCache(layers, PULSE)
        cache.keep(URL, b"body", ETAG, NOW)
        assert (cache.find(URL) or pytest.fail("lost"))[1] == b"body"
        cache.forget(URL)
        assert cache.find(URL) is None
        assert cache.counts()["broken"].errors >= 2


def test_memory_is_bounded_and_forgets_what_was_used_longest_ago():
    memory = Memory(1_000)
    for key in "abcde":
        memory.put(key, b"x" * 250)
        memory.get("a")
    assert [key for key in "abcde" if memory.get(key)] == ["a", "c", "d", "e"]
    memory.put("large", b"x" * 251)
    assert memory.get("large") is None
    assert [key for key in "abcde" if memory.get(key)] == ["a", "c", "d", "e"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 60), st.booleans()), max_size=60))
def test_memory_never_holds_more_than_its_limit_nor_anything_else(steps):
    memory, last = Memory(100), {}
    for key, size, dropped in steps:
        if dropped:
            memory.drop(key)
            last.pop(key, None)
        else:
            last[key] = random.Random(size).randbytes(size)
            memory.put(key, last[key])
        held = {name: value for name in "abcdef" if (value := memory.get(name)) is not None}
        assert sum(map(len, held.values())) == memory._size <= 100
        assert all(last.get(name) == value for name, value in held.items())


def test_two_data_folders_in_one_process_share_nothing(tmp_path):
    memory = Memory(10_000)
    one, other = (LayeredCache((MemoryLayer(memory, tmp_path / name),), PULSE) for name in "ab")
    one.keep(URL, b"body", ETAG, NOW)
    assert one.find(URL) is not None
    assert other.find(URL) is None


def test_the_disk_forgets_the_oldest_once_there_are_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr("hedgefund_dagster.sources.http.cache_layers._MAX_ENTRIES", 20)
    layer = DiskLayer(tmp_path)
    for number in range(60):
        layer.put(f"{number:03}", b"x", 60.0)
    held = sorted(path.stem for path in tmp_path.glob("*.entry"))
    assert 18 <= len(held) <= 20
    assert "059" in held


# ------------------------------------------------------------------------------------------------ counts, configuration


def test_counts_of_all_clients_add_up_in_the_vendors_folder(tmp_path):
    for _ in range(2):
        cache = disk_cache(tmp_path, PULSE)
        cache.keep(URL, b"body", ETAG, NOW)
        cache.find(URL)
        cache.find("https://v/other")
        for _ in range(3):
            cache.counts()
    assert read_totals(tmp_path / "cache.json") == {"disk": LayerCounts(hits=2, misses=2)}
    assert read_totals(tmp_path / "cache.json")["disk"].spelt() == "2 of 4, 0.00 ms each"


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://h:port", "redis://:canary@h:port", "6379"])
def test_an_address_that_is_none_is_named_without_its_password(tmp_path, url):
    with pytest.raises(ConfigError, match=r"cache\.url") as caught:
        open_cache(CacheSettings(url=url), tmp_path, tmp_path / "v", PULSE)
    assert "canary" not in caught.value.message
    assert caught.value.mend


def test_without_a_server_there_are_memory_and_disk(tmp_path):
    cache = open_cache(CacheSettings(seconds=5.0), tmp_path, tmp_path / "v", PULSE)
    cache.keep(URL, b"body", {}, NOW, shared=True)
    entry, _ = cache.find(URL) or pytest.fail("not kept")
    assert entry.fresh_until == (NOW + timedelta(seconds=5)).timestamp()
    assert list(cache.counts()) == ["memory", "disk"]
