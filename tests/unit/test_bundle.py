"""A bundle is refused, naming what differs, however it was tampered with; what is sound is read, byte for byte the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgefund_core import bundle as b
from hedgefund_core.errors import ModelMismatch
from hedgefund_core.quant.features import code_digest, resolve
from hedgefund_core.quant.models import single_feature_rule
from hedgefund_core.quant.panel_codec import pack_arrays, unpack_arrays

COLUMN = "reversal_5"
KEY = "k1"
GOLDEN = np.array([[0.01], [-0.02], [np.nan], [0.005]])
Files = dict[str, bytes]


def sign(payload: bytes) -> str:
    return hashlib.sha256(b"secret" + payload).hexdigest()


def verify(key_id: str, payload: bytes, signature: str) -> bool:
    return key_id == KEY and signature == sign(payload)


def manifest(**changes: Any) -> b.Manifest:
    specs = tuple(resolve([COLUMN]))
    plain = {
        "schema": b.SCHEMA, "name": "rule", "kind": "rule", "features": specs, "columns": (COLUMN,), "code_digest": code_digest(specs),
        "universe": ("A", "B"), "calendar": "XNYS", "price_kind": "raw", "source": "noise", "trained_from": "2001-01-01",
        "trained_through": "2001-06-30", "expires_after_days": 90,
        "signal_contract": b.SignalContract(min_coverage=0.9, max_abs_score=10.0), "mandate": "market_neutral",
        "data_versions": {"noise": "v"}, "mlflow_run_id": "m", "dagster_run_id": "d", "gate": b.GateRecord(kind="bootstrap", passed=True),
    }  # fmt: skip
    return b.Manifest(**(plain | changes))


def files_of(golden: np.ndarray = GOLDEN, replaced: Files | None = None, **changes: Any) -> Files:
    """The files of a bundle signed honestly, whatever is in it."""
    made, files = b.with_files(manifest(**changes), single_feature_rule(COLUMN), golden)
    files |= replaced or {}
    if replaced:
        made = msgspec.structs.replace(made, files={name: b.sha256(content) for name, content in files.items()})
    return {**files, b.MANIFEST: signed(made)}


def signed(made: b.Manifest, key: str = KEY) -> bytes:
    named = msgspec.structs.replace(made, key_id=key)
    return b.manifest_bytes(msgspec.structs.replace(named, signature=sign(b.signed_payload(named))))


def refused(files: Files, said: str) -> None:
    with pytest.raises(ModelMismatch, match=said) as error:
        b.read_bundle(files, verify)
    assert error.value.mend


def test_a_sound_bundle_is_read_and_named_by_its_manifest() -> None:
    files = files_of()
    read = b.read_bundle(files, verify)
    assert read.digest == hashlib.sha256(files[b.MANIFEST]).hexdigest()
    assert read.manifest.columns == (COLUMN,)
    scores = read.model.score(GOLDEN, np.ones(4, dtype=np.bool_))
    np.testing.assert_array_equal(scores, unpack_arrays(files[b.GOLDEN])["scores"])


def test_the_same_model_gives_the_same_bytes() -> None:
    assert files_of() == files_of()
    again = b.read_manifest(files_of()[b.MANIFEST])
    assert b.manifest_bytes(again) == files_of()[b.MANIFEST]


def test_extra_files_are_not_read() -> None:
    assert b.read_bundle({**files_of(), "evil.py": b"import os"}, verify).digest == b.read_bundle(files_of(), verify).digest


@pytest.mark.parametrize("name", [b.MANIFEST, b.MODEL, b.GOLDEN])
def test_a_missing_file_is_refused(name: str) -> None:
    files = files_of()
    del files[name]
    refused(files, ".")


@given(name=st.sampled_from([b.MANIFEST, b.MODEL, b.GOLDEN]), place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_one_changed_byte_anywhere_is_refused(name: str, place: float, flip: int) -> None:
    files = files_of()
    content = bytearray(files[name])
    content[int(place * len(content))] ^= flip
    refused({**files, name: bytes(content)}, ".")


@given(name=st.sampled_from([b.MANIFEST, b.MODEL, b.GOLDEN]), share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_short_is_refused(name: str, share: float) -> None:
    files = files_of()
    refused({**files, name: files[name][: int(share * len(files[name]))]}, ".")


def test_the_same_content_written_otherwise_is_refused_because_its_digest_would_differ() -> None:
    files = files_of()
    refused({**files, b.MANIFEST: msgspec.json.format(files[b.MANIFEST], indent=4)}, "not written as it was signed")


def unsigned() -> Files:
    return {**files_of(), b.MANIFEST: b.manifest_bytes(b.read_manifest(files_of()[b.MANIFEST]).__class__(**raw(key_id="", signature="")))}


def raw(**changes: Any) -> dict[str, Any]:
    return msgspec.structs.asdict(b.read_manifest(files_of()[b.MANIFEST])) | changes


def edited(**changes: Any) -> Files:
    """The manifest changed after it was signed."""
    return {**files_of(), b.MANIFEST: b.manifest_bytes(b.Manifest(**raw(**changes)))}


def swapped() -> Files:
    """The golden vectors of another bundle of ours."""
    return {**files_of(), b.GOLDEN: files_of(golden=np.array([[0.5], [0.25]]))[b.GOLDEN]}


def stranger() -> Files:
    return {**files_of(), b.MANIFEST: signed(b.read_manifest(files_of()[b.MANIFEST]), key="k2")}


def unknown_field() -> Files:
    content = msgspec.json.decode(files_of()[b.MANIFEST]) | {"code": "os.system"}
    return {**files_of(), b.MANIFEST: msgspec.json.encode(content)}


NEW_SCORES = {b.GOLDEN: pack_arrays({"features": GOLDEN, "scores": np.array([1.0, 2.0, np.nan, 3.0])})}
NO_SCORES = {b.GOLDEN: pack_arrays({"features": GOLDEN[2:3], "scores": np.array([np.nan])})}
EMPTY = {b.GOLDEN: pack_arrays({"features": GOLDEN[:0], "scores": np.zeros(0)})}
WIDE = {b.GOLDEN: pack_arrays({"features": np.zeros((4, 2)), "scores": np.zeros(4)})}
WORDS = {b.GOLDEN: pack_arrays({"features": np.array([["x"]]), "scores": np.array(["y"])})}
NOT_ARRAYS = {b.MODEL: b"MZ\x90 no arrays"}
UNKNOWN_ARRAY = {b.MODEL: pack_arrays({**single_feature_rule(COLUMN).to_arrays(), "extra": np.zeros(1)})}
NAN_WEIGHT = {b.MODEL: pack_arrays({**single_feature_rule(COLUMN).to_arrays(), "weights": np.array([np.nan])})}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (unsigned, r"not signed by a trusted key \(key none\)"),
        (stranger, "not signed by a trusted key"),
        (swapped, "golden.npz is not the file that was signed"),
        (unknown_field, "not a bundle manifest"),
        (lambda: edited(expires_after_days=9000), "not signed"),
        (lambda: edited(gate=b.GateRecord(kind="strategy_approval", passed=True)), "not signed"),
        (lambda: edited(files={}), "not signed"),
        (lambda: files_of(schema=2), "schema 2"),
        (lambda: files_of(code_digest="0" * 64), "other feature code"),
        (lambda: files_of(kind="pickle"), "unknown kind of model 'pickle'"),
        (lambda: files_of(columns=("momentum_12_1",)), "columns are not its features"),
        (lambda: files_of(trained_through="30 June"), "a date is none"),
        (lambda: files_of(gate=b.GateRecord(kind="override", passed=False, person="a", reason="b", expires="soon")), "a date is none"),
        (lambda: files_of(replaced=NEW_SCORES), "does not give its golden scores"),
        (lambda: files_of(replaced=NO_SCORES), "prove nothing"),
        (lambda: files_of(replaced=EMPTY), "prove nothing"),
        (lambda: files_of(replaced=WIDE), "do not fit the columns"),
        (lambda: files_of(replaced=WORDS), "no numbers"),
        (lambda: files_of(replaced=NOT_ARRAYS), "not a readable array file"),
        (lambda: files_of(replaced=UNKNOWN_ARRAY), "unknown"),
        (lambda: files_of(replaced=NAN_WEIGHT), "not finite"),
        (lambda: files_of(replaced={"extra.npz": b""}), "vouches for other files"),
    ],
)  # fmt: skip
def test_what_is_not_sound_is_refused_by_name(make: Callable[[], Files], said: str) -> None:
    refused(make(), said)


def override(**changes: str) -> b.GateRecord:
    return b.GateRecord(**({"kind": "override", "passed": False, "person": "ann", "reason": "drill", "expires": "2001-07-15"} | changes))


@pytest.mark.parametrize(
    ("gate", "on", "admitted"),
    [
        (b.GateRecord(kind="refit", passed=True), date(2030, 1, 1), True),
        (b.GateRecord(kind="refit", passed=False), date(2001, 7, 1), False),
        (override(), date(2001, 7, 15), True),
        (override(), date(2001, 7, 16), False),
        (override(person=""), date(2001, 7, 1), False),
        (override(reason=""), date(2001, 7, 1), False),
        (override(expires=""), date(2001, 7, 1), False),
    ],
)
def test_the_gate_admits_what_passed_or_a_signed_override_until_it_expires(gate: b.GateRecord, on: date, admitted: bool) -> None:
    assert b.gate_admits(manifest(gate=gate), on) is admitted


def test_a_model_expires_by_age_or_with_the_override_that_admitted_it() -> None:
    assert manifest().expires_on() == date(2001, 9, 28)
    assert manifest().admitted_days == 90
    assert manifest(gate=override()).expires_on() == date(2001, 7, 15)
    assert manifest(gate=override()).admitted_days == 15
    assert manifest(gate=override(expires="2002-01-01")).admitted_days == 90
    assert manifest().age_days(date(2001, 7, 10)) == 10
