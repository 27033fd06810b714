"""What only the PostgreSQL store can break: its server dies, refuses or is away, a writer is cut off, the tables are of others."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path

import dagster as dg
import numpy as np
import psycopg
import pyarrow as pa
import pytest

from hedgefund_core.configuration import StoreSettings
from hedgefund_core.errors import ConfigError, DataInvalid, DataUnavailable
from hedgefund_core.schemas import BARS, CORPORATE_ACTIONS, STATED_ACTIONS
from hedgefund_dagster.defs.ingest.assets import ingest_assets
from hedgefund_dagster.defs.sourced import all_facts
from hedgefund_dagster.defs.validation.assets import validation_assets
from hedgefund_dagster.defs.validation.look_ahead import restated_cells
from hedgefund_dagster.resources.embedded_postgres import DATABASE, USER, EmbeddedPostgres, free_port
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.resources.postgres_bars import PostgresBars
from hedgefund_dagster.resources.postgres_session import PostgresDatabase
from hedgefund_dagster.resources.stores import RoutedLake, bar_store, open_lake
from hedgefund_dagster.settings import opened_lake, shared_resources

NUMBERS = count()
RECORDED = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def bars(postgres: EmbeddedPostgres) -> PostgresBars:
    return PostgresBars(PostgresDatabase(postgres.url))


@pytest.fixture
def source() -> str:
    return f"own-{next(NUMBERS)}"


def rows(days: int = 40, symbols: int = 50, *, recorded: datetime = RECORDED, shift: float = 0.0) -> pa.Table:
    """A year of made-up bars, by session."""
    size = days * symbols
    sessions = np.repeat(np.datetime64("2023-01-02") + np.arange(days), symbols)
    moment = pa.array(sessions.astype("datetime64[us]")).cast(pa.timestamp("us", tz="UTC"))
    columns = {
        **dict.fromkeys(("open", "high", "low", "adj_close"), pa.nulls(size, pa.float64())),
        "symbol": pa.array(np.tile([f"N{number:03d}" for number in range(symbols)], days)),
        "session": pa.array(sessions),
        "ts": moment,
        "known_at": moment,
        "recorded_at": pa.repeat(pa.scalar(recorded, pa.timestamp("us", tz="UTC")), size),
        "known_at_basis": pa.repeat(pa.scalar("assumed"), size),
        "close": pa.array(np.arange(size) / 7 + shift),
        "volume": pa.array(np.full(size, 1e6), mask=np.arange(size) % 3 == 0),
        "source": pa.repeat(pa.scalar("own"), size),
        "raw_sha256": pa.repeat(pa.scalar("f" * 64), size),
        "source_row": pa.array(np.arange(size) + 1),
    }
    return pa.table([columns[name] for name in BARS.column_names], schema=arrow_schema(BARS))


def blocked(url: str) -> bool:
    """Whether a session waits for a lock."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,)


@pytest.mark.parametrize("stored", [False, True], ids=["first-write", "correction"])
def test_a_server_killed_in_the_middle_of_a_write_holds_nothing_of_it_and_comes_back(mortal, source, stored) -> None:
    bars, url = PostgresBars(PostgresDatabase(mortal.start())), mortal.url
    if stored:
        bars.write_bars(source, "2023", rows())
    else:
        bars.write_bars(f"{source}-other", "2023", rows(2, 2))
    before = bars.read_bars(source) if stored else None
    corrected = rows(recorded=RECORDED + timedelta(days=1), shift=1.0)
    told: list[BaseException] = []

    def write() -> None:
        try:
            bars.write_bars(source, "2023", corrected)
        except DataUnavailable as error:
            told.append(error)

    holder = psycopg.connect(url)
    holder.execute("LOCK TABLE lake.writes IN EXCLUSIVE MODE")  # the rows are copied, the manifest waits
    writer = threading.Thread(target=write)
    writer.start()
    while not blocked(url):
        time.sleep(0.01)
    os.kill(mortal.pid, signal.SIGKILL)
    writer.join(30)
    with pytest.raises(psycopg.OperationalError):
        holder.execute("SELECT 1")
    assert "HEDGEFUND_POSTGRES_URL" in told[0].mend
    mortal.start()
    if before is None:
        with pytest.raises(DataUnavailable, match="no bars"):
            bars.read_bars(source)
    else:
        assert bars.read_bars(source).equals(before)
    assert bars.write_bars(source, "2023", corrected).added == corrected.num_rows


def test_a_server_that_was_restarted_between_two_calls_is_not_noticed(mortal, source) -> None:
    bars = PostgresBars(PostgresDatabase(mortal.start()))
    bars.write_bars(source, "2023", rows(5, 5))
    mortal.stop()
    with pytest.raises(DataUnavailable, match="does not serve"):
        bars.read_bars(source)
    mortal.start()
    assert bars.read_bars(source).num_rows == 25


def test_a_write_is_in_the_manifests_and_a_version_cannot_be_changed(bars, postgres, source) -> None:
    bars.write_bars(source, "2023", rows(5, 5), run_id="run-1")
    bars.write_bars(source, "2023", rows(5, 5), run_id="run-2")
    changed = rows(5, 5, recorded=RECORDED + timedelta(days=1)).to_pylist()
    changed[3]["close"] = 99.0
    bars.write_bars(source, "2023", pa.Table.from_pylist(changed, schema=arrow_schema(BARS)), run_id="run-3")
    with psycopg.connect(postgres.url) as connection:
        found = connection.execute(
            "SELECT run_id, rows, offered FROM lake.writes WHERE stored_as = %s ORDER BY write_id", [source]
        ).fetchall()
        assert found == [("run-1", 25, 25), ("run-3", 1, 25)]
        assert connection.execute("SELECT symbol, close FROM lake.bars WHERE stored_as = %s AND close = 99", [source]).fetchall() == [
            ("N003", 99.0)
        ]
        assert connection.execute("SELECT count(*) FROM lake.bar_history WHERE stored_as = %s", [source]).fetchone() == (26,)
        for statement in ("UPDATE lake.bar_versions SET close = 1", "DELETE FROM lake.bar_versions"):
            with pytest.raises(psycopg.errors.RaiseException, match="never changed"), connection.transaction():
                connection.execute(f"{statement} WHERE stored_as = %s", [source])


def test_a_writer_whose_clock_is_behind_adds_a_version_of_its_own_time_once(bars, source) -> None:
    old, new = rows(2, 3, shift=1.0), rows(2, 3, recorded=RECORDED + timedelta(days=1))
    assert [bars.write_bars(source, "2023", one).added for one in (new, old, new.slice(0, 1), old)] == [6, 6, 0, 0]
    assert bars.read_bars(source).column("close").to_pylist() == new.sort_by("symbol").column("close").to_pylist()
    assert bars.read_bars(source, RECORDED).column("close").to_pylist() == old.sort_by("symbol").column("close").to_pylist()


def test_bars_lie_in_a_partition_of_their_source_and_year(bars, postgres, source) -> None:
    bars.write_bars(source, "2023", rows(400, 2))
    with psycopg.connect(postgres.url) as connection:
        plan = connection.execute(
            "EXPLAIN SELECT * FROM lake.bar_versions WHERE stored_as = %s AND session = '2024-01-15'".replace("%s", f"'{source}'")
        ).fetchall()
        read = {word for (line,) in plan for word in line.split() if word.startswith("bars_own")}
        assert {name.rsplit("_", 1)[-1] for name in read if name.endswith(("2023", "2024"))} == {"2024"}


@pytest.mark.parametrize(
    ("change", "message"),
    [({"symbol": "A\x00B"}, "refuses the rows"), ({"session": date(1, 1, 1)}, None), ({"ts": datetime(9999, 12, 31, tzinfo=UTC)}, None)],
)
def test_odd_rows_are_stored_or_refused_in_words(bars, source, change, message) -> None:
    odd = pa.Table.from_pylist([rows(1, 1).to_pylist()[0] | change], schema=arrow_schema(BARS))
    if message is None:
        bars.write_bars(source, "odd", odd)
        assert bars.read_bars(source).equals(odd)
    else:
        with pytest.raises(DataInvalid, match=message):
            bars.write_bars(source, "odd", odd)


def test_nobody_enters_without_the_password_and_no_message_holds_it(postgres) -> None:
    password = postgres.url.split(":")[2].split("@")[0]
    wrong = postgres.url.replace(password, "guess")
    for url, error, words in (
        (wrong, ConfigError, "refuses us"),
        (postgres.url.replace(f"/{DATABASE}", "/nowhere"), ConfigError, "refuses us"),
        (f"postgresql://{USER}:{password}@127.0.0.1:{free_port()}/{DATABASE}", DataUnavailable, "does not serve"),
        (f"nonsense {password}", ConfigError, "no PostgreSQL address"),
    ):
        with pytest.raises(error, match=words) as caught:
            PostgresBars(PostgresDatabase(url)).read_bars("any")
        assert password not in caught.value.message + caught.value.mend


def test_tables_of_another_version_of_the_program_are_left_alone(postgres) -> None:
    url = postgres.database("foreign")
    PostgresBars(PostgresDatabase(url)).newest("any")
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE lake.about SET version = 99")
    with pytest.raises(ConfigError, match="version 99"):
        PostgresBars(PostgresDatabase(url)).newest("any")


def test_the_folder_is_ours_alone_and_a_second_start_finds_the_first(mortal) -> None:
    mortal.start()
    folder = mortal._folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600
    twin = EmbeddedPostgres(folder)
    assert twin.start() == mortal.url
    assert twin.pid == mortal.pid
    with psycopg.connect(mortal.url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert connection.execute("SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'trust'").fetchone() == (0,)
    twin.stop()
    assert mortal.pid is None


def test_a_port_that_somebody_took_is_given_up_for_another(mortal) -> None:
    mortal.start()
    mortal.stop()
    taken = int((mortal._folder / "port").read_text())
    import socket

    with socket.create_server(("127.0.0.1", taken)):
        assert f":{taken}/" not in mortal.start()
    mortal.stop()


def test_an_initialization_that_was_interrupted_is_made_again(mortal) -> None:
    mortal.stop()
    made, half = mortal._folder / "cluster", mortal._folder / "cluster.new"
    made.rename(half)
    (half / "PG_VERSION").unlink()
    mortal.start()
    assert mortal.pid is not None
    assert not half.exists()


def test_the_configuration_names_the_store_and_the_environment_its_address(postgres, tmp_path) -> None:
    wanted = StoreSettings(bars="postgresql")
    assert type(open_lake(tmp_path, StoreSettings(), {})) is Lake
    assert isinstance(open_lake(tmp_path, wanted, {"HEDGEFUND_POSTGRES_URL": postgres.url}), RoutedLake)
    with pytest.raises(ConfigError, match="HEDGEFUND_POSTGRES_URL is not set"):
        open_lake(tmp_path, wanted, {})


def prices(folder: Path) -> None:
    """Nine names with a split, in one file."""
    folder.mkdir()
    rng, days = np.random.default_rng(5), np.busday_offset("2019-01-01", np.arange(1060), roll="forward")
    lines = ["symbol,date,open,high,low,close,volume,adj_close"]
    for name in "ABCDEFGHI":
        close = 50 * np.cumprod(1 + rng.normal(0, 0.01, len(days)))
        factor = np.where(np.arange(len(days)) < 500, 2.0, 1.0) if name == "A" else np.ones(len(days))
        for day, price, times in zip(days.astype(str), close, factor, strict=True):
            raw = price * times
            lines.append(f"{name},{day},{raw:.2f},{raw * 1.01:.2f},{raw * 0.99:.2f},{raw:.2f},{int(rng.integers(1e6, 2e6))},{price:.4f}")
    (folder / "prices.csv").write_text("\n".join(lines))


def test_ingest_writes_there_and_validation_reads_from_there_the_same_panel(postgres, tmp_path, own_house, monkeypatch) -> None:
    prices(tmp_path / "prices")
    monkeypatch.setenv("HEDGEFUND_SOURCES__FILES__FOLDER", str(tmp_path / "prices"))
    monkeypatch.setenv("HEDGEFUND_SOURCES__FILES__PRICE_KIND", "raw")
    monkeypatch.setenv("HEDGEFUND_UNIVERSE__SOURCE", "files")
    facts = next(facts for facts in all_facts() if facts.name == "files")
    panels, grids = {}, []
    for store in ("parquet", "postgresql"):
        monkeypatch.setenv("HEDGEFUND_DATA_DIR", str(own_house / store))
        monkeypatch.setenv("HEDGEFUND_SOURCES__STORE__BARS", store)
        monkeypatch.setenv("HEDGEFUND_POSTGRES_URL", postgres.database("wiring"))
        with dg.DagsterInstance.ephemeral() as instance:
            assets = [*ingest_assets(facts), *validation_assets(facts)]
            result = dg.materialize(assets, instance=instance, resources=shared_resources(fixed_clock="2024-01-05T12:00:00+00:00"))
        assert result.success
        lake = opened_lake()
        panels[store] = lake.read_panel("files")
        assert restated_cells(lake, panels[store]) == []
        assert bar_store(lake).newest("files").date() == date(2023, 1, 24)
        grids.append(lake.grids.read("files").values)
        count = "SELECT count(*) AS n FROM bars WHERE source = 'files'"
        assert lake.sql(count).column("n").to_pylist() == [9 * 1060]
    assert np.array_equal(*grids, equal_nan=True)
    assert panels["postgresql"].data_version == panels["parquet"].data_version
    assert not (own_house / "postgresql" / "processed" / "bars").exists()
    assert lake.has_table(CORPORATE_ACTIONS, "files")
    assert not lake.versions.has(STATED_ACTIONS, "files")
