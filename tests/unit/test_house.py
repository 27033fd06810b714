"""The rules of the house: what the README promises exists, the lock is a lock, and no module outgrows a reader."""

from __future__ import annotations

import ast
import importlib
import os
import re
import runpy
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from hedgefund_core.quant.bars import Panel, PriceKind

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hedgefund_core", "hedgefund_dagster", "live_executor")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked_files() -> list[Path]:
    """What a clone would hold."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def documents() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_every_make_command_of_a_document_exists(document: Path) -> None:
    text = document.read_text()
    named = set(re.findall(r"`make ([a-z][a-z-]*)", text)) | set(re.findall(r"^(?:\$ )?make ([a-z][a-z-]*)", text, flags=re.MULTILINE))
    assert named <= make_targets()


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def named_commands() -> list[str]:
    """Commands of the executor that a document tells the reader to type."""
    return sorted({name for path in documents() for name in re.findall(r"(?:`|bin/)executor ([a-z]+)", path.read_text())})


@pytest.mark.parametrize("command", named_commands())
def test_every_executor_command_of_a_document_exists(command: str) -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "live_executor", command, "--help"], cwd=ROOT, capture_output=True, check=False, text=True
    )
    assert help_text.returncode == 0, help_text.stderr
    assert command in help_text.stdout


def test_the_build_server_runs_make_test_and_nothing_else() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("exec make test")


def test_make_alone_lists_every_target_with_a_line() -> None:
    listed = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    assert {line.split()[1] for line in listed.splitlines()} == make_targets()
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert phony is not None
    assert set(phony.group(1).split()) == make_targets()


def test_the_feature_of_the_how_to_keeps_the_contract_of_features(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "how-to" / "add-a-feature.md").read_text(), flags=re.DOTALL)
    (tmp_path / "distance_to_mean_50.py").write_text(block)
    feature = runpy.run_path(str(tmp_path / "distance_to_mean_50.py"))["FEATURE"]
    close = np.cumprod(1 + np.random.default_rng(1).normal(0, 0.01, (120, 3)), axis=0)
    sessions = np.arange("2020-01-01", 120, dtype="datetime64[D]")
    panel = Panel(sessions=sessions, symbols=("A", "B", "C"), price_kind=PriceKind.TOTAL_RETURN, close=close)
    spec = feature.spec()
    values = feature.values(panel, spec.params)
    last = feature.values(panel.rows(120 - spec.warm_up, 120), spec.params)
    assert np.isnan(values[: spec.warm_up - 1]).all()
    assert values[-1].tobytes() == last[-1].tobytes()
    assert values[-1] == pytest.approx(close[-1] / close[-50:].mean(axis=0) - 1)


def locked() -> Iterator[tuple[str, list[str]]]:
    """Every requirement of the lock with its hashes."""
    text = re.sub(r"^\s*#.*$", "", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    for entry in re.split(r"\n(?=\S)", text.replace("\\\n", " ")):
        if entry.strip():
            requirement = entry.split(" --hash=")[0].strip()
            yield requirement, re.findall(r"--hash=sha256:[0-9a-f]{64}", entry)


def test_every_line_of_the_lock_is_pinned_and_hashed() -> None:
    entries = list(locked())
    assert len(entries) > 100
    assert [requirement for requirement, hashes in entries if "==" not in requirement or not hashes] == []


def test_the_lock_names_no_index_and_no_place_of_a_machine() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert re.findall(r"://|--(?:extra-)?index-url|--find-links|(?<= )/\S+", text) == []


def test_the_lock_holds_the_pins_of_the_project_and_nothing_for_a_gpu() -> None:
    versions = dict(requirement.split(";")[0].strip().split("==") for requirement, _ in locked())
    extras = PROJECT["project"]["optional-dependencies"]
    asked = [*PROJECT["project"]["dependencies"], *(line for lines in extras.values() for line in lines)]
    pins = dict(line.split("==") for line in asked if "==" in line)
    assert {"dagster", "dagster-webserver", "dagster-postgres", "mlflow"} <= pins.keys()
    assert {name: versions[name] for name in pins} == pins
    assert [name for name in versions if re.match(r"torch|nvidia|cuda|triton", name)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_top_level_package_is_importable_and_typed(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__doc__
    assert (ROOT / package / "py.typed").exists()


def test_importing_core_and_executor_loads_no_library_of_the_batch_shell() -> None:
    """Functions that train may import them; a module that did at its top would put them into the trading process."""
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sources() if "hedgefund_dagster" not in path.parts]
    names = [name.removesuffix(".__init__") for name in modules if not name.endswith("__main__")]
    heavy = "{'dagster', 'mlflow', 'great_expectations', 'pandas', 'polars', 'pyarrow', 'scipy', 'sklearn', 'skfolio', 'duckdb', 'plotly'}"
    script = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\nprint(sorted({heavy} & sys.modules.keys()))"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False, text=True)
    assert loaded.stdout.strip() == "[]", loaded.stderr


def test_every_variable_of_the_example_environment_is_read_by_the_code() -> None:
    names = re.findall(r"^#?\s?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE)
    code = "\n".join(path.read_text() for path in sources())
    assert names
    assert [name for name in names if name not in code] == []


def test_no_tracked_file_names_a_place_of_one_machine() -> None:
    place = re.compile(r"(?<![\w.~])/(?:work|root|farm|home|Users)/\w")
    binary = {".npz", ".png", ".parquet", ".gz"}
    texts = ((path, path.read_text(encoding="utf-8")) for path in tracked_files() if path.suffix not in binary)
    assert [str(path.relative_to(ROOT)) for path, text in texts if place.search(text)] == []


def test_workspace_and_project_name_the_same_code_location() -> None:
    (location,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    project = PROJECT["tool"]["dg"]["project"]
    assert location["python_module"]["location_name"] == project["code_location_name"]
    assert location["python_module"]["module_name"] == project["code_location_target_module"]


def test_every_ignored_rule_has_its_reason_beside_it() -> None:
    block = re.search(r"^ignore = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE | re.DOTALL)
    assert block is not None
    assert [line for line in block.group(1).splitlines() if not re.search(r'",\s+# \w', line)] == []


def test_no_module_is_longer_than_500_lines() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert {name: size for name, size in sizes.items() if size > 500} == {}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and length of the body, docstring aside, of each function of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body:
                yield f"{path.relative_to(ROOT)}:{node.name}", (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_no_function_body_is_longer_than_40_lines() -> None:
    assert [(name, size) for path in sources() for name, size in functions(path) if size > 40] == []


def test_no_class_has_more_than_12_public_methods() -> None:
    crowded = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                public = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name[0] != "_"]
                if len(public) > 12:
                    crowded.append((str(path.relative_to(ROOT)), node.name, len(public)))
    assert crowded == []


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    marks = re.compile(r"mark\.(?:skip|xfail)|pytest\.(?:skip|xfail|importorskip)\(")
    assert [str(path) for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__) and marks.search(path.read_text())] == []


def test_a_test_cannot_leave_this_machine() -> None:
    with socket.socket() as beyond, pytest.raises(pytest.fail.Exception, match="may not use the network"):
        beyond.connect(("192.0.2.1", 80))
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as here:
        assert here.getpeername() == server.getsockname()
