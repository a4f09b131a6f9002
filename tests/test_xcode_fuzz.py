"""Mutated samples: an import ends with a report or with one line, never with a traceback, and never changes the store.

Mutations work on the decoded document (a value of another type, a key gone or renamed, lists cut or repeated) and on
the bytes (cut, flipped, spliced), of every format and of archives.
"""

from __future__ import annotations

import copy
import io
import json
import random
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from fuseport.export.commands.xcode import command as xcode
from fuseport.validate.xcode import Document, ReportError, find_documents, holds_report, read_report
from fuseport.validate.xcode.codec import from_dict, to_dict
from fuseport.validate.xcode.gate import gate
from fuseport.validate.xcode.redact import redact
from fuseport.validate.xcode.rules import parse_rule
from fuseport.validate.xcode.store import summary
from fuseport.validate.xcode.view import view
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xcode_samples import MAC, PHONE, main_block

QUICK = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
RULES = [parse_rule(rule) for rule in ("predict.p95<=1ms", "load.uncached<=1s", "ane.share>=0.9", "switches<=1")]
TFLITE = (
    b"Graph: [/a/net.tflite]\nNum threads: [4]\ncount=9 first=8 curr=5 min=5 max=8 avg=5.8 std=1\n"
    b"Inference timings in us: Init: 119515, First inference: 87112, Warmup (avg): 58147.4, Inference (avg): 63743.2\n"
    b"Operator-wise Profiling Info for Regular Benchmark Runs:\n"
    b"[node type]  [first]  [avg ms]  [times called]  [Name]\nCONV_2D  0.1  0.3  1  [a]:0\n"
)
ORT = (
    b"Session creation time cost: 0.2 s\nAverage inference time cost: 98.9 ms\nP50 Latency: 0.1 s\nMin Latency: 0.1 s\n"
)
PROFILE = json.dumps([
    {"cat": "Session", "name": "model_run", "dur": 5, "ts": 1, "args": {}},
    {"cat": "Node", "name": "a_kernel_time", "dur": 3, "ts": 1, "args": {"op_name": "Conv", "provider": "X"}},
]).encode()  # fmt: skip


def small(path: Path) -> dict[str, Any]:
    """A sample with few constants, so that a mutation meets something that matters."""
    document = json.loads(path.read_bytes())
    block = main_block(document)
    block["operations"] = [op for op in block["operations"] if op["operatorName"] != "const"][-8:]
    document["deviceResults"]["predict"]["samples"] = document["deviceResults"]["predict"]["samples"][:6]
    return document


SMALL = [small(PHONE), small(MAC), json.loads(PROFILE)]
TEXTS = [json.dumps(document).encode() for document in SMALL] + [TFLITE, ORT, PROFILE]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**62, max_value=2**80),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["\ud800", "\x1b[2J", "a" * 3000, "[[[", '{"a": 1}', 1e308, 5e-324, -0.0, 10**400]),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    ),
)


def use_everything(data: bytes) -> None:
    """All that may be done with a file: each ends well, or with a `ReportError` of one line."""
    document = Document(data, "x.json")
    try:
        report = read_report(document)
    except ReportError as error:
        check_line(str(error))
    else:
        json.dumps(view(report), allow_nan=False).encode()
        assert from_dict(json.loads(json.dumps(to_dict(report)))) == report
        summary(report, "now")
        gate(report, RULES, report, 0.05)
    try:
        redact(data, "x.json")
    except ReportError as error:
        check_line(str(error))


def check_line(message: str) -> None:
    """A message is one line that a terminal can show."""
    assert message.isprintable()
    assert 10 < len(message) < 2000


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


PLACES = [[place for place in places(document) if place] for document in SMALL]


@QUICK
@given(st.data())
def test_values_of_other_types(data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(SMALL) - 1))
    document = copy.deepcopy(SMALL[which])
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(PLACES[which]))
        owner: Any = document
        for key in path:  # an earlier mutation may have taken the way there
            inside = isinstance(owner, dict) and key in owner
            inside |= isinstance(owner, list) and isinstance(key, int) and key < len(owner)
            owner = owner[key] if inside else None
        mutate(owner, last, data)
    use_everything(json.dumps(document).encode())


def mutate(owner: Any, key: Any, data: st.DataObject) -> None:
    """One change at a place: another value, nothing, another key, more of the same."""
    kind = data.draw(st.sampled_from(["replace", "delete", "rename", "repeat"]))
    if isinstance(owner, dict) and key in owner:
        if kind == "delete":
            del owner[key]
        elif kind == "rename":
            owner[data.draw(st.text(max_size=10))] = owner.pop(key)
        else:
            owner[key] = data.draw(VALUES)
    elif isinstance(owner, list) and isinstance(key, int) and key < len(owner):
        if kind == "delete":
            del owner[key:]
        elif kind == "repeat":
            owner.extend(copy.deepcopy(owner[key : key + 1]) * 3)
        else:
            owner[key] = data.draw(VALUES)


@QUICK
@given(st.sampled_from(TEXTS), st.data())
def test_bytes(text: bytes, data: st.DataObject) -> None:
    changed = bytearray(text)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed)))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "splice"]))
        if kind == "flip" and at < len(changed):
            changed[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del changed[at : at + data.draw(st.integers(1, 400))]
        elif kind == "insert":
            changed[at:at] = data.draw(st.binary(max_size=20))
        else:
            start = data.draw(st.integers(0, len(text)))
            changed[at:at] = text[start : start + 300]
    use_everything(bytes(changed))


@settings(QUICK, max_examples=150)
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")))
def test_noise(data: bytes) -> None:
    use_everything(data)
    use_everything(b'{"deviceResults": ' + data + b', "jsonVersion": 1}')
    use_everything(b"Average inference time cost: 5 ms\nInference timings in us:" + data)


@settings(QUICK, max_examples=100)
@given(st.integers(0, 10**9))
def test_archives(seed: int) -> None:
    chance = random.Random(seed)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a-b.mlperf/report.json", TEXTS[0])
        archive.writestr("log.txt", TFLITE)
    data = bytearray(buffer.getvalue())
    for _ in range(chance.randint(1, 6)):  # the directory at the end is the part that decides
        at = chance.randrange(len(data)) if chance.random() < 0.4 else len(data) - 1 - chance.randrange(300)
        data[at] = chance.randrange(256)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.zip"
        path.write_bytes(data)
        for document in find_documents(path, holds_report):
            if isinstance(document, ReportError):
                check_line(str(document))


@settings(QUICK, max_examples=40)
@given(st.data())
def test_the_command(data: st.DataObject) -> None:
    document = copy.deepcopy(SMALL[0])
    *path, last = data.draw(st.sampled_from(PLACES[0]))
    owner: Any = document
    for key in path:
        owner = owner[key]
    mutate(owner, last, data)
    with tempfile.TemporaryDirectory() as folder:
        report, store = Path(folder) / "x.json", Path(folder) / "s.sqlite"
        report.write_text(json.dumps(document))
        result = CliRunner().invoke(xcode, ["import", str(report), "--store", str(store)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code in (0, 1)
        assert store.exists() == (result.exit_code == 0)
        assert len(result.stderr.splitlines()) == result.exit_code
