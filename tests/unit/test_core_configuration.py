"""A configuration key is found, overridden, or named in the error."""

from __future__ import annotations

import pytest

from hedgefund_core.configuration import SourcesSettings, UniverseSettings, resolve
from hedgefund_core.errors import ConfigError

FILE = "config/sources.yaml"


def test_defaults_are_used_and_said_to_be_defaults():
    value, origins = resolve(FILE, {}, {}, SourcesSettings)
    assert value.files.calendar == "observed"
    assert origins["files.calendar"] == "default"


def test_environment_wins_over_the_file_and_is_named():
    env = {"HEDGEFUND_SOURCES__FILES__FOLDER": "prices", "HEDGEFUND_UNIVERSE__SOURCE": "files", "HEDGEFUND_DATA_DIR": "elsewhere"}
    value, origins = resolve(FILE, {"files": {"folder": "old", "currency": "EUR"}}, env, SourcesSettings)
    assert (value.files.folder, value.files.currency) == ("prices", "EUR")
    assert origins["files.folder"] == "HEDGEFUND_SOURCES__FILES__FOLDER"
    assert origins["files.currency"] == FILE


def test_environment_text_becomes_numbers_lists_and_nothing():
    env = {"HEDGEFUND_SOURCES__FILES__TICK": "0.01", "HEDGEFUND_SOURCES__FILES__SESSIONS_PER_YEAR": "null"}
    value, _ = resolve(FILE, {"files": {"sessions_per_year": 365}}, env, SourcesSettings)
    assert value.files.tick == 0.01
    assert value.files.sessions_per_year is None
    universe, _ = resolve("config/universe.yaml", {}, {"HEDGEFUND_UNIVERSE__SYMBOLS": '["A", "B"]'}, UniverseSettings)
    assert universe.symbols == ("A", "B")


@pytest.mark.parametrize(
    ("content", "env", "named"),
    [
        ({"files": {"calender": "XNYS"}}, {}, ["config/sources.yaml", "files.calender", "'calendar'"]),
        ({"file": {}}, {}, ["config/sources.yaml", "'file'", "'files'"]),
        ({}, {"HEDGEFUND_SOURCES__FILES__FOLDR": "x"}, ["HEDGEFUND_SOURCES__FILES__FOLDR", "files.foldr", "'folder'"]),
    ],
)
def test_a_misspelt_key_names_file_and_key_and_the_nearest(content, env, named):
    with pytest.raises(ConfigError) as caught:
        resolve(FILE, content, env, SourcesSettings)
    assert all(part in caught.value.message for part in named), caught.value.message
    assert caught.value.exit_code == 3
    assert caught.value.mend


def test_an_ill_typed_value_names_its_key():
    with pytest.raises(ConfigError, match=r"files\.tick"):
        resolve(FILE, {"files": {"tick": "cheap"}}, {}, SourcesSettings)


def test_a_value_outside_its_choices_is_refused():
    with pytest.raises(ConfigError, match=r"files\.price_kind"):
        resolve(FILE, {"files": {"price_kind": "adjusted"}}, {}, SourcesSettings)


def test_an_override_below_a_plain_value_is_refused():
    with pytest.raises(ConfigError, match="is not a section"):
        resolve("config/universe.yaml", {"source": "files"}, {"HEDGEFUND_UNIVERSE__SOURCE__X": "1"}, UniverseSettings)


def test_unreadable_json_in_a_variable_names_the_variable():
    with pytest.raises(ConfigError, match="HEDGEFUND_UNIVERSE__SYMBOLS"):
        resolve("config/universe.yaml", {}, {"HEDGEFUND_UNIVERSE__SYMBOLS": "[A"}, UniverseSettings)
