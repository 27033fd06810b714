"""Strict about what is used, tolerant of all else: unknown and missing fields, numbers as texts, numbers that are none, any damage."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pyarrow as pa
import pytest

from hedgefund_core.errors import DataInvalid, DataUnavailable, HedgefundError
from hedgefund_dagster.sources.http.paging import walk_pages
from hedgefund_dagster.sources.source import RawPayload
from tests.contract.vendors.bench import CASES, Bench, FakeTime
from tests.contract.vendors.cases import Case
from tests.contract.vendors.loopback import Exchange, Fault, exchanges, serving

ORIGIN = ["raw_sha256"]
SEEDS = 25
STRANGE = (None, "", "x", -1, 0, 1e308, [], {}, True, "NaN", "inf", "2020-13-45", 10**30, "\uffff", ["x"], {"x": None})


def payloads_of(bench: Bench) -> tuple[RawPayload, ...]:
    return bench.fetch()


def altered(payloads: tuple[RawPayload, ...], alter: Callable[[bytes], bytes]) -> list[RawPayload]:
    """The payloads as if they had come changed."""
    return [
        RawPayload.of(p.source, p.dataset, alter(p.content), origin=p.origin, retrieved_at=p.retrieved_at, ending=p.ending)
        for p in payloads
    ]


def said(rows: pa.Table) -> list[dict[str, object]]:
    return rows.drop_columns(ORIGIN).to_pylist()


def is_json(vendor: str) -> bool:
    return all(exchange.body.lstrip()[:1] in (b"{", b"[") for exchange in exchanges(vendor))


JSON_CASES = [case for case in CASES if is_json(case.vendor)]


@pytest.fixture(params=JSON_CASES, ids=lambda case: case.name)
def json_bench(request, tmp_path) -> Iterator[Bench]:
    with serving(request.param.vendor) as server:
        yield Bench(case=request.param, server=server, folder=tmp_path / "vendor", clock=FakeTime())


def walk(node: object, change: Callable[[object], object]) -> object:
    """The document with each leaf changed."""
    if isinstance(node, dict):
        return {key: walk(value, change) for key, value in node.items()}
    return [walk(value, change) for value in node] if isinstance(node, list) else change(node)


# --------------------------------------------------------------------------------------------------- fields that are not used


def keys_of(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from keys_of(value)
    elif isinstance(node, list):
        for value in node:
            yield from keys_of(value)


def novel(node: object, fields: set[str]) -> object:
    """Unknown fields in each object that has a field the vendor documents; maps by symbol, day or concept stay maps."""
    if isinstance(node, dict):
        grown = {key: novel(value, fields) for key, value in node.items()}
        return {"novel_": [1, {"a": None}], **grown, "novel": {"a": [True]}} if fields & set(node) else grown
    return [novel(value, fields) for value in node] if isinstance(node, list) else node


def documented(case) -> set[str]:
    """Names of fields, taken from what the case renames; a map's keys are data and never among them."""
    texts = [change.old for change in (*case.renamed, *case.retyped)]
    return {name for text in texts for name in re.findall(r'^"?([\w.() ]+?)"?(?=": |":|"$|$)', text)}


def test_fields_nobody_asked_for_change_nothing(json_bench):
    payloads = payloads_of(json_bench)
    fields = documented(json_bench.case)
    found = json_bench.rows(altered(payloads, lambda body: json.dumps(novel(json.loads(body), fields)).encode()))
    assert b"novel" in b"".join(p.content for p in altered(payloads, lambda body: json.dumps(novel(json.loads(body), fields)).encode()))
    assert said(found) == said(json_bench.rows(payloads))


@pytest.mark.parametrize("vendor", ["cboe_vix", "us_treasury"])
def test_columns_and_elements_nobody_asked_for_change_nothing(tmp_path, vendor):
    case = next(case for case in CASES if case.vendor == vendor)
    with serving(vendor) as server:
        bench = Bench(case=case, server=server, folder=tmp_path, clock=FakeTime())
        payloads = bench.fetch()

        def grown(body: bytes) -> bytes:
            if vendor == "us_treasury":
                return body.replace(b"<d:NEW_DATE", b'<d:NOVEL m:type="Edm.String">x</d:NOVEL><d:NEW_DATE')
            head, *lines = body.decode().splitlines()
            return "\n".join([f"{head},NOVEL", *(f"{line},x" for line in lines)]).encode()

        assert said(bench.rows(altered(payloads, grown))) == said(bench.rows(payloads))


def test_a_field_that_is_gone_is_named_or_was_optional(json_bench):
    payloads = payloads_of(json_bench)
    before = json_bench.rows(payloads)
    gone = []
    for key in dict.fromkeys(key for payload in payloads for key in keys_of(json.loads(payload.content))):

        def without(body: bytes, key: str = key) -> bytes:
            return json.dumps(dropped(json.loads(body), key)).encode()

        try:
            rows = json_bench.rows(altered(payloads, without))
        except (DataInvalid, DataUnavailable) as error:
            gone.append(error.message)
            continue
        assert rows.num_rows <= before.num_rows + 1
    assert gone, "nothing is obligatory"
    assert [words for words in gone if not named(json_bench, words)] == []


def dropped(node: object, key: str) -> object:
    if isinstance(node, dict):
        return {name: dropped(value, key) for name, value in node.items() if name != key}
    return [dropped(value, key) for value in node] if isinstance(node, list) else node


# -------------------------------------------------------------------------------------------------------------- numbers


def test_numbers_as_texts_are_the_same_numbers(json_bench):
    def texts(leaf: object) -> object:
        return str(leaf) if isinstance(leaf, int | float) and not isinstance(leaf, bool) else leaf

    payloads = payloads_of(json_bench)
    found = json_bench.rows(altered(payloads, lambda body: json.dumps(walk(json.loads(body), texts)).encode()))
    assert said(found) == said(json_bench.rows(payloads))


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_none_is_refused(json_bench, literal):
    payloads = payloads_of(json_bench)

    def spoilt(leaf: object) -> object:
        return float(literal.replace("Infinity", "inf")) if isinstance(leaf, float) else leaf

    altering = altered(payloads, lambda body: json.dumps(walk(json.loads(body), spoilt)).encode())
    if all(payload.content == before.content for payload, before in zip(altering, altered(payloads, _same), strict=True)):
        return
    with pytest.raises(DataInvalid) as caught:
        json_bench.rows(altering)
    assert json_bench.server.url in caught.value.message


def _same(body: bytes) -> bytes:
    return json.dumps(json.loads(body)).encode()


# --------------------------------------------------------------------------------------------------------- pages, bodies


def test_pages_served_twice_give_each_row_once(json_bench):
    payloads = payloads_of(json_bench)
    assert said(json_bench.rows([*payloads, *payloads])) == said(json_bench.rows(payloads))


@pytest.mark.parametrize(
    "name", ["fred-series", "massive-bars", "massive-corporate_actions", "alpaca-bars_sip", "alpaca-quotes_sip", "alpaca-news"]
)
def test_pages_that_never_end_are_an_error(tmp_path, monkeypatch, name):
    """Every page points to one after it that was never seen: an error, long before the server tires."""
    monkeypatch.setitem(walk_pages.__kwdefaults__, "max_pages", 30)
    case = next(case for case in CASES if case.name == name)
    with serving(case.vendor) as server:
        bench, served, answers = Bench(case=case, server=server, folder=tmp_path, clock=FakeTime()), [0], list(server.exchanges)

        def endless(body: bytes) -> bytes:
            served[0] += 1
            content = json.loads(body)
            if "next_page_token" in content:
                content["next_page_token"] = f"t{served[0]}"
            elif "offset" in content:
                content["count"] = 10**9
            elif "results" in content:
                content["next_url"] = f"{server.url}/v2/endless?cursor={served[0]}"
            return json.dumps(content).encode()

        server.find = lambda path, query: next((e for e in answers if e.answers(path, query)), None) or _any(answers, path, case)
        server.edit = endless
        with pytest.raises((DataInvalid, DataUnavailable)):
            bench.fetch()
        assert served[0] <= 62


def _any(answers: list[Exchange], path: str, case: Case) -> Exchange | None:
    """For a page nobody wrote down, the first of its kind."""
    aggregates = [e for e in answers if case.dataset == "bars" and "/aggs/" in e.path]
    same = [e for e in answers if e.path == path]
    return next(iter(same or aggregates or [e for e in answers if "/splits" in e.path]), None)


def test_a_packed_bomb_is_cut_off(troubled):
    troubled.server.always = Fault(kind="status", headers={"Content-Encoding": "gzip"}, body=BOMB)
    with pytest.raises(DataInvalid, match="larger than"):
        troubled.fetch()


BOMB = gzip.compress(b"0" * 20_000_000, 1)


# ------------------------------------------------------------------------------------------------------------- any damage


def test_a_value_of_any_other_kind_is_rows_or_a_named_refusal(json_bench):
    payloads, dice = payloads_of(json_bench), random.Random(json_bench.case.name)
    for _ in range(SEEDS):
        chosen, value = dice.random(), dice.choice(STRANGE)

        def strange(body: bytes, chosen: float = chosen, value: object = value) -> bytes:
            content = json.loads(body)
            places = list(leaves(content))
            node, key = places[int(chosen * len(places))]
            node[key] = value
            return json.dumps(content).encode()

        rows_or_refusal(json_bench, altered(payloads, strange))


def leaves(node: object) -> Iterator[tuple[dict | list, str | int]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield node, key
        yield from leaves(value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bytes_damaged_anywhere_are_rows_or_a_named_refusal(case, tmp_path):
    with serving(case.vendor) as server:
        bench = Bench(case=case, server=server, folder=tmp_path, clock=FakeTime())
        payloads, dice = bench.fetch(), random.Random(case.name)
        for _ in range(SEEDS):

            def damaged(body: bytes) -> bytes:
                place = dice.randrange(len(body))
                how = dice.randrange(4)
                if how == 0:
                    return body[:place]
                if how == 1:
                    return body[:place] + bytes([dice.randrange(256)]) + body[place + 1 :]
                if how == 2:
                    return body[:place] + body[place + dice.randrange(40) :]
                return body[:place] + body[place:][:60] + body[place:]

            rows_or_refusal(bench, altered(payloads, damaged))


def rows_or_refusal(bench: Bench, payloads: list[RawPayload]) -> None:
    """Rows that keep the table's contract, or an error of ours that says where."""
    try:
        rows = bench.rows(payloads)
    except HedgefundError as error:
        words = error.message
    else:
        words = ""
        keeps_its_contract(bench, rows)
    assert not words or named(bench, words), words
    assert len(words) < 2_000


def named(bench: Bench, words: str) -> bool:
    """Whether a refusal says where: the address, the vendor, or the table and value."""
    return bench.server.url in words or bench.case.vendor in words or words.startswith("table ")


def keeps_its_contract(bench: Bench, rows: pa.Table) -> None:
    assert rows.schema.names == list(bench.table.column_names)
    for column in bench.table.columns:
        if not column.nullable:
            assert rows.column(column.name).null_count == 0


def test_a_payload_of_another_time_changes_only_what_is_known(json_bench):
    """Asked a year earlier nothing is known that had not happened."""
    payloads = payloads_of(json_bench)
    early = [replace(payload, retrieved_at=payload.retrieved_at.replace(year=1970)) for payload in payloads]
    rows = json_bench.rows(early)
    assert rows.num_rows <= json_bench.case.rows
