"""Does each file compute what the model computes? A section of an export's page, and the same as cases for machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .blocks import Bound, Bounds, Case, Cell, Fold, Section, Table, Text, tone_of
from .figures import decimal, error, percent

Result = dict[str, Any]
COLUMNS = ("max abs", "rel. L2", "allowed", "float32 floor", "cosine", "SNR dB", "top-1", "top-5")


def parity(report: dict[str, Any]) -> Section:
    """Every output of every file on every engine that could run it."""
    found = list(_outputs(report["results"]))
    bounds = Bounds(tuple(_bound(*one) for one in found if one[2].get("relative_l2") is not None))
    reasons = tuple(
        (file, engine, output["name"], Cell(output["verdict"], tone_of(output["verdict"])), output["reason"])
        for file, engine, output in found
    )
    not_run = tuple(
        Text(f"{file}, {engine}: not checked: {reason}", "unsure")
        for file, engine, reason in _not_run(report["results"])
    )
    folds = (
        Fold("All figures", (Table(("file", "engine", "output", "verdict"), COLUMNS, tuple(_row(*o) for o in found)),)),
        Fold(
            "The verdicts, with their reasons", (Table(("file", "engine", "output", "verdict", "reason"), (), reasons),)
        ),
    )
    fed = next((check["parity"]["inputs"] for check in _ran(report["results"])), "")
    lead = (
        "The relative error of each output beside what rounding alone would cost. The reference is the original model "
        f"in float64{f', on {fed}' if fed else ''}."
    )
    shown = (bounds,) if bounds.rows else ()
    return Section("Does it compute the same?", lead, (*shown, *not_run, *(folds if found else ())))


def tightest(results: Sequence[Result]) -> tuple[str, str, str] | None:
    """The output that came closest to its bound (or overran it most), as a headline: figure, label, note."""
    known = [
        (output["relative_l2"] / output["bound"], file, output)
        for file, _, output in _outputs(results)
        if output.get("bound") and output.get("relative_l2") is not None
    ]
    if not known:
        return None
    share, file, output = max(known, key=lambda one: one[0])
    return f"{share:.0%}", "of the allowed error is used", f"most by {output['name']} of {file}"


def cases(results: Sequence[Result]) -> Iterator[Case]:
    """One case per file, engine and output; one skipped case for an engine that could not run."""
    for file, engine, output in _outputs(results):
        verdict = output["verdict"]
        outcome = "skipped" if verdict == "not judged" else "passed" if verdict == "passed" else "failed"
        figures = tuple((k, f"{v:.9g}") for k, v in output.items() if isinstance(v, int | float) and v is not None)
        yield Case(f"{file}.{engine}", output["name"], outcome, output["reason"], figures)
    for file, engine, reason in _not_run(results):
        yield Case(f"{file}.{engine}", "run", "skipped", reason)


def _outputs(results: Sequence[Result]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(file, engine, figures of one output), in the report's order."""
    for result in results:
        for check in result["checks"]:
            for output in check["parity"].get("outputs", ()):
                yield result["artifact"]["path"], check["engine"], output


def _not_run(results: Sequence[Result]) -> Iterator[tuple[str, str, str]]:
    for result in results:
        for check in result["checks"]:
            if "not_run" in check["parity"]:
                yield result["artifact"]["path"], check["engine"], check["parity"]["not_run"]
        if not result["checks"]:
            yield result["artifact"]["path"], "no engine", "no engine here runs this format"


def _ran(results: Sequence[Result]) -> Iterator[dict[str, Any]]:
    return (check for result in results for check in result["checks"] if "not_run" not in check["parity"])


def _bound(file: str, engine: str, output: dict[str, Any]) -> Bound:
    return Bound(
        label=output["name"],
        detail=f"{file} · {engine}",
        value=output["relative_l2"],
        floor=output.get("floor"),
        bound=output.get("bound"),
        tone=tone_of(output["verdict"]),
        verdict=output["verdict"],
    )


def _row(file: str, engine: str, output: dict[str, Any]) -> tuple[str | Cell, ...]:
    ranks = output.get("ranking") or {}
    return (
        *(file, engine, output["name"], Cell(output["verdict"], tone_of(output["verdict"]))),
        *(error(output.get(key)) for key in ("max_abs", "relative_l2", "bound", "floor")),
        *(decimal(output.get("cosine"), 8), decimal(output.get("snr_db"), 1)),
        *(percent(ranks.get("top1")), percent(ranks.get("top5"))),
    )
