"""Check files against their model and against a baseline: has what the team accepted changed since?

A file that computes the right thing may still not be the one that was accepted: other operators, another size, an
error that has grown inside its bound. That is a drift, and fails the check until the team accepts it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...validate.verdict import Tolerance
from ..atomic import staging
from .baseline import Accepted, Baseline, BaselineError, as_text, read_baseline
from .drift import Watched, drift, entry_of, updated
from .recheck import CheckReport, recheck
from .targets import Asked


def watch(
    asked: Asked,
    path: Path,
    *,
    update: bool = False,
    tolerance: Accepted | None = None,
    announce: Callable[[str], None] = lambda stage: None,
) -> CheckReport:
    """The check of `asked`, of all files of the baseline if it names none, and what has changed since the baseline.

    With `update` the baseline at `path` is written anew, but only if every file passed; `tolerance` is then accepted
    for these files in place of the one they had. Raises ValueError with one line for what cannot be used.
    """
    known = Baseline(path) if update and not path.exists() else read_baseline(path)
    asked = _with_limits(asked, known, tolerance)
    report = recheck(asked, announce=announce)
    accepted = {name: entry.tolerance for name, entry in known.entries.items()}
    now = {}
    for result in report.results:
        name = known.name_of(result.artifact.path)
        now[name] = entry_of(result.artifact, result.against, result.checks, tolerance or accepted.get(name))
    drifts = tuple(found for name, entry in now.items() if (found := drift(name, known.entries.get(name), entry)))
    if update and report.outcome == "passed":
        _write(updated(known, now))
        return replace(report, watched=Watched(path.name, drifts, accepted=True))
    watched = Watched(path.name, drifts)
    if update:
        return replace(report, reason=f"{report.reason}; {path.name} stays as it was", watched=watched)
    if report.outcome == "passed" and drifts:
        return replace(report, outcome="failed", reason=_told(watched), watched=watched)
    return replace(report, watched=watched)


def _with_limits(asked: Asked, known: Baseline, tolerance: Accepted | None) -> Asked:
    paths = asked.artifacts or tuple(known.path_of(name) for name in known.entries)
    if not paths:
        raise BaselineError(f"{known.path}: holds no files yet; name those to check, with --update-baseline")
    gone = [path for path in paths if not asked.artifacts and not path.exists()]
    if gone:
        raise BaselineError(
            f"{gone[0]}: named by {known.path}, but there is no such file; make it, or name those to check"
        )
    held = {path: known.entries[name] for path in paths if (name := known.name_of(path)) in known.entries}
    limits = {path: tolerance or (held[path].tolerance if path in held else None) for path in paths}
    return replace(
        asked,
        artifacts=paths,
        limits={path: Tolerance(own.atol, own.rtol) for path, own in limits.items() if own is not None},
    )


def _told(watched: Watched) -> str:
    more = len(watched.drifts) - 1
    others = f", and {more} more {'file has' if more == 1 else 'files have'} drifted" if more else ""
    return (
        f"not as {watched.baseline} accepts it: {watched.drifts[0].told()}{others}; "
        "if that is meant, run it again with --update-baseline and commit the file"
    )


def _write(baseline: Baseline) -> None:
    with staging(baseline.path) as (staged,):
        staged.write_text(as_text(baseline), encoding="utf-8")
