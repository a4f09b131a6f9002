"""The GitHub Action: its shell steps are taken out of action.yml and run by bash, as a runner would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from exported import doubling

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "parity.yml").read_text(encoding="utf-8"))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A checked-out project: build/a net.onnx, which doubles, and build/cases.npz with what it should give."""
    (tmp_path / "build").mkdir()
    doubling(tmp_path / "build" / "a net.onnx")
    return tmp_path


def step(name: str, workspace: Path, path: str | None = None, **given: str) -> subprocess.CompletedProcess[str]:
    """Run one step as a runner does, with its own bash options; inputs are those `given`, or the defaults."""
    (found,) = (one for one in ACTION["runs"]["steps"] if one["name"] == name)
    told = {key: spec["default"] for key, spec in ACTION["inputs"].items()} | given
    variables = {key: _filled(text, told) for key, text in found["env"].items()}
    runner = {
        "PATH": path or f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_ACTION_PATH": "/actions/fuse port",
        "GITHUB_OUTPUT": str(workspace / "output"),
        "GITHUB_STEP_SUMMARY": str(workspace / "summary"),
    }
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", found["run"]]
    environment = {**os.environ, **variables, **runner}
    return subprocess.run(words, cwd=workspace, env=environment, capture_output=True, text=True, timeout=300)


def _filled(text: str, told: dict[str, str]) -> str:
    assert text.startswith("${{ inputs.")
    return told[text.removeprefix("${{ inputs.").removesuffix(" }}")]


def outputs(workspace: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (workspace / "output").read_text().splitlines())


def test_a_right_file_passes_and_a_wrong_one_fails_the_job(workspace: Path) -> None:
    given = {"artifacts": "build/*.onnx\n", "args": "--inputs=build/cases.npz"}
    done = step("Check", workspace, **given)
    assert (done.returncode, "::error" in done.stdout) == (0, False), done.stderr
    assert outputs(workspace) == {"junit": "fuseport-check/parity.xml", "page": "fuseport-check/parity.html"}
    assert (workspace / "summary").read_text(encoding="utf-8").startswith("## ✅ a net.onnx: passed")
    assert (workspace / "fuseport-check" / "parity.html").is_file()
    doubling(workspace / "build" / "a net.onnx", factor=2.1)
    done = step("Check", workspace, **given)
    assert done.returncode == 1
    assert "::error title=fuseport check::a net.onnx (ONNX Runtime, CPU): y: relative L2 error" in done.stdout
    assert 'failures="1"' in (workspace / "fuseport-check" / "parity.xml").read_text(encoding="utf-8")


def test_nothing_to_check_fails_the_job(workspace: Path) -> None:
    done = step("Check", workspace, artifacts="build/*.mlpackage")
    assert (done.returncode, done.stdout) == (
        2,
        "::error::no file matches 'build/*.mlpackage'; expected .onnx files or .mlpackage folders\n",
    )
    assert not (workspace / "output").exists()


def test_a_name_is_no_command(workspace: Path) -> None:
    evil = "$(touch owned) `touch owned`; touch owned"
    (workspace / "build" / evil).mkdir()
    stub = workspace / "bin"
    stub.mkdir()
    (stub / "fuseport").write_text('#!/bin/bash\nprintf "%s\\n" "$@" > words\n')
    (stub / "fuseport").chmod(0o755)
    path = f"{stub}{os.pathsep}{os.environ['PATH']}"
    done = step("Check", workspace, path, artifacts="build/*[!z]", against=evil, baseline="b.json")
    assert done.returncode == 0, done.stderr
    words = (workspace / "words").read_text().splitlines()
    assert sorted(words[1:3]) == sorted([f"./build/{evil}", "./build/a net.onnx"])
    assert words[3:7] == ["--against", evil, "--baseline", "b.json"]
    assert not list(workspace.rglob("owned"))
    assert all("${{" not in one["run"] for one in ACTION["runs"]["steps"]), "an input is written into a script"


def test_the_install_step_installs_the_version_of_the_action(workspace: Path) -> None:
    (workspace / "python").write_text('#!/bin/bash\nprintf "%s\\n" "$@" > words\n')
    (workspace / "python").chmod(0o755)
    done = step("Install fuseport", workspace, f"{workspace}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    words = (workspace / "words").read_text().splitlines()
    assert words == ["-m", "pip", "install", "/actions/fuse port[onnx,coreml,report]"]


def test_the_workflow_uses_what_the_action_has() -> None:
    steps: list[dict[str, Any]] = WORKFLOW["jobs"]["parity"]["steps"]
    (used,) = (one for one in steps if one.get("uses") == "./")
    assert set(used["with"]) <= set(ACTION["inputs"])
    outputs_used = [one["if"] for one in steps if "if" in one]
    assert all(text.rpartition(".")[2] in ACTION["outputs"] for text in outputs_used)
    for one in (*steps, *ACTION["runs"]["steps"]):
        if "run" in one:
            subprocess.run(["bash", "-n", "-c", one["run"]], check=True)
