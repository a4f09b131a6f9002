"""Reports to make pages of: a saved export of a small model, and Xcode's samples as `fuseport xcode` prints them."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fuseport.validate.xcode import find_documents, holds_report, read_report
from fuseport.validate.xcode.compare import difference, matrix
from fuseport.validate.xcode.gate import gate
from fuseport.validate.xcode.rules import parse_rule
from fuseport.validate.xcode.store import summary
from fuseport.validate.xcode.view import view
from profile_samples import profile_form

SAMPLES = Path(__file__).parent / "samples"
EXPORT = SAMPLES / "export" / "shvit_tiny.report.json"
EVIL = "</style><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">&\"'`|\u202e\x00"


def export_report() -> dict[str, Any]:
    return json.loads(EXPORT.read_text(encoding="utf-8"))


def check_report() -> dict[str, Any]:
    """A check of the same file that failed, and that is not as its baseline has it."""
    made = export_report()
    result = made["results"][0]
    found = {
        "artifact": result["artifact"],
        "against": "shvit_tiny, weights: random",
        "checks": result["checks"],
        "notes": ["the file has changed since its report"],
        "findings": [{"stage": "layer", "what": "the error begins in stem.0"}],
    }
    drifts = [{"artifact": "a.onnx", "changes": [{"what": "sha256", "old": "1a…", "new": "2b…"}]}]
    return {
        "schema": "fuseport.check/1",
        "outcome": "failed",
        "reason": "not as accepted",
        "results": [found],
        "watched": {"baseline": "b.json", "drifts": drifts, "accepted": False},
        **{key: made[key] for key in ("fuseport", "stages", "versions")},
    }


def lint_report() -> dict[str, Any]:
    """A finding that is open, one that is waived, and a waiver that nothing needs."""
    found = {"rule": "conv-stride", "level": "warning", "operator": "conv", "name": "y", "module": "stem.0"}
    found |= {"message": "stride 14×14", "wasted_bytes": 128, "waived": ""}
    source = {"title": "Apple, rules", "url": "https://example.org/rules", "standing": "Apple's guidance"}
    rule = {"name": "conv-stride", "level": "warning", "says": "strides", "remedy": "12", "mended_by": "a rule"}
    return {
        "schema": "fuseport.lint/1",
        "chip": "A13",
        "packages": [
            {
                "name": "net.mlpackage",
                "path": "a/net.mlpackage",
                "operations": 7,
                "findings": [found, {**found, "waived": "so"}],
            }
        ],
        "rules": [{**rule, "sources": [source]}],
        "unused_waivers": [{"rule": "conv-3d", "where": "*", "reason": "old"}],
    }


def diff_report() -> dict[str, Any]:
    """Two files that differ in everything."""
    totals = {"operations": 3, "parameters": 9, "bytes": 99, "macs": None, "weight_bytes": 36, "activation_bytes": 8}
    side = {
        "name": "net.onnx",
        "path": "net.onnx",
        "format": "onnx",
        "precision": "float32",
        "sha256": "1a2b",
        "totals": totals,
    }
    change = {"what": "conv", "a": "1", "b": ""}
    pair = {"a": "w", "b": "v", "how": "changed", "distance": 0.5}
    lone = {"name": "u", "shape": [2], "dtype": "float32"}
    output = {"name": "logits", "max_abs": 1e-3, "relative_l2": None, "top1": 1.0}
    parts = ("file", "interface", "preprocessing", "operators", "precision", "settings", "metadata")
    return {
        "schema": "fuseport.diff/1",
        "a": side,
        "b": side,
        "same": False,
        "reasons": [{"favours": "b", "text": "batch norms"}],
        **{part: [change] for part in parts},
        "modules": [{"module": "stem", "operators": [change], "macs": [1, 2]}],
        "weights": {"pairs": [pair], "only_a": [lone], "only_b": []},
        "answers": {"engines": ["x", "y"], "samples": 2, "seed": 0, "outputs": [output]},
    }


def xcode_views() -> dict[str, dict[str, Any]]:
    """One report, several, the difference of two, the matrix of a store, and a gate's verdicts, by name."""
    reports = [read_report(document) for document in find_documents(SAMPLES / "xcode", holds_report)]
    views = [view(report) | {"new": True} for report in reports]
    verdicts = gate(reports[0], [parse_rule("predict.p95<=1us"), parse_rule("predict.p95<=9s")])
    changes = {"schema": "fuseport.xcode.difference/1", "before": "a", "after": "b"} | asdict(difference(*reports))
    gated = {"report": "r", "verdicts": [asdict(verdict) for verdict in verdicts]}
    rows = [summary(report, "2026-11-21T12:00:00") for report in (*reports, reports[0])]
    cells = [asdict(cell) | {"newest": cell.newest._asdict()} for cell in matrix(rows)]
    found = {
        "one": views[0],
        "several": {"schema": "fuseport.xcode.import/1", "reports": views, "errors": []},
        "difference": changes,
        "matrix": {"schema": "fuseport.xcode.matrix/1", "cells": cells},
        "gate": {"schema": "fuseport.xcode.gate/1", "reports": [gated]},
    }
    return json.loads(json.dumps(found))


def all_reports() -> dict[str, dict[str, Any]]:
    own = {"check": check_report(), "profile": profile_form(), "lint": lint_report(), "diff": diff_report()}
    return {"export": export_report(), **own, **xcode_views()}


def poisoned(value: Any, key: str = "") -> Any:
    """The same report with markup, quotes and control characters in every text but those that are keys of the form."""
    if isinstance(value, str):
        return value if key in ("schema", "verdict", "outcome", "unit", "status", "level") else value + EVIL
    if isinstance(value, list):
        return [poisoned(inner) for inner in value]
    if isinstance(value, dict):
        named = key in ("modules", "operations", "latencies", "versions", "details", "facts")
        return {(k + EVIL if named else k): poisoned(inner, k) for k, inner in value.items()}
    return copy.copy(value)
