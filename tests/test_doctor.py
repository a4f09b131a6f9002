"""`fuseport doctor` says yes to a stack that works, and no, with the fix, to each way in which one may be broken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torchvision
from fuseport.export import doctor
from fuseport.export.doctor import Probe, Wrong, diagnose, remedy
from fuseport.export.formats import to_onnx
from test_cli import run


def test_the_installed_stack_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fuseport", "doctor", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    states = {one["probe"]: one["state"] for one in found["found"]}
    assert found["works"]
    assert {states[name] for name in ("torch", "torchvision", "timm", "ONNX", "Core ML")} == {"works"}
    assert "torch" in found["versions"]


def probe_named(name: str) -> Probe:
    return next(probe for probe in doctor.PROBES if probe.name == name)


def test_a_runtime_that_computes_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = to_onnx.runner

    def doubled(artifact, **options):
        answer = right(artifact, **options)
        return lambda feeds: {name: 2 * value for name, value in answer(feeds).items()}

    monkeypatch.setattr(to_onnx, "runner", doubled)
    diagnosis = diagnose([probe_named("ONNX")])
    (found,) = diagnosis.found
    assert (diagnosis.works, found.state) == (False, "broken")
    assert found.told.startswith("the file computes something else: relative error ONNX Runtime, CPU 1e+00")


def test_nan_is_no_right_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = SimpleNamespace(errors_of=lambda name, folder: {"an engine": float("nan")})
    monkeypatch.setattr(doctor, "_tiny", lambda: broken)
    assert diagnose([probe_named("ONNX")]).found[0].state == "broken"


def test_a_torchvision_of_another_build_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*words: object) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", broken)
    monkeypatch.setattr(doctor, "PROBES", (probe_named("torchvision"),))
    assert run("fuseport", "doctor") == 1
    printed = capsys.readouterr()
    assert "BROKEN" in printed.out
    (line,) = [line for line in printed.err.splitlines() if not line.endswith("…")]
    assert line.startswith(
        "error: torchvision: RuntimeError: operator torchvision::nms does not exist; torch and torchv"
    )
    assert 'pip install --force-reinstall "torch>=2.8,<2.15" torchvision' in line


def works(folder: Path) -> str:
    return "it works"


def raises(error: BaseException) -> Probe:
    def fail(folder: Path) -> str:
        raise error

    return Probe("a part", ("numpy",), fail)


def test_what_is_missing_is_no_fault_while_one_format_works() -> None:
    there = Probe("ONNX", ("numpy",), works, "onnx", writes=True)
    away = Probe("Core ML", ("no-such-package",), works, "coreml", writes=True)
    diagnosis = diagnose([there, away])
    assert diagnosis.works
    assert diagnosis.found[1].state == "missing"
    assert diagnosis.found[1].fix == 'pip install "fuseport[coreml]"'
    assert not diagnose([away]).works
    assert diagnose([there, Probe("torch", ("no-such-package",), works)]).found[1].state == "broken"


def test_whatever_a_probe_raises_becomes_a_finding() -> None:
    there = Probe("ONNX", ("numpy",), works, "onnx", writes=True)
    for error in (ImportError("x"), SystemExit(3), AttributeError("y")):
        diagnosis = diagnose([there, raises(error)])
        assert (diagnosis.works, diagnosis.found[1].state) == (False, "broken")
        assert diagnosis.found[1].fix == "pip install --force-reinstall numpy"
    advised = diagnose([there, raises(Wrong("old", "newer", advice=True))])
    assert (advised.works, advised.found[1].fix) == (True, "newer")


@pytest.mark.parametrize(
    ("told", "fix"),
    [
        ("RuntimeError: BlobWriter not loaded", "Python 3.11 to 3.13"),
        ("TypeError: Descriptors cannot be created directly.", "protobuf does not fit"),
        ("Fail: Unsupported model IR version: 13, max supported IR version: 10", "onnxruntime>=1.20"),
        ("TypeError: only 0-dimensional arrays can be converted to Python scalars", "numpy<2.4"),
        ("ImportError: torchvision/_C.so: undefined symbol", "of different builds"),
    ],
)
def test_known_breakages_have_their_remedy(told: str, fix: str) -> None:
    assert fix in (remedy(told) or "")


def test_an_unknown_one_has_none() -> None:
    assert remedy("KeyError: 'x'") is None


def test_the_doctor_comes_even_if_torch_does_not_import() -> None:
    asked = "import sys; sys.modules['torch'] = None; sys.argv = ['fuseport', 'doctor', '--json']; "
    asked += "from fuseport.export.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    found = {one["probe"]: one for one in json.loads(done.stdout)["found"]}
    assert found["torch"]["state"] == "broken"
    assert "import of torch halted" in found["torch"]["told"]
    assert "Traceback" not in done.stderr
