"""A report → its page: which kind it is goes by its `schema`, whether it was made just now or years ago.

Every page is made of the plain JSON form, so that a saved report and a fresh one look the same. The form may come from
anywhere: its texts are cleaned of what a terminal, an XML reader or a right-to-left trick would act on, and a report
that is not in its form is refused in one line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...validate.xcode.document import check_size, clean, parse_json
from . import of_check, of_comparison, of_diff, of_export, of_lint, of_performance, of_profile
from .blocks import Page

Report = dict[str, Any]

KINDS: dict[str, Callable[[Report], Page]] = {
    of_export.SCHEMA: of_export.page,
    of_check.SCHEMA: of_check.page,
    of_profile.SCHEMA: of_profile.page,
    of_performance.SCHEMA: of_performance.page,
    of_performance.SEVERAL: of_performance.page_of_several,
    of_comparison.DIFFERENCE: of_comparison.difference,
    of_comparison.MATRIX: of_comparison.matrix,
    of_comparison.GATE: of_comparison.gate,
    of_lint.SCHEMA: of_lint.page,
    of_diff.SCHEMA: of_diff.page,
}
"""Schema → what makes the page. A report of your own is one file and one row here."""


class NotAReport(ValueError):
    """A file or value that no page can be made of; the message is one line."""


def read(path: Path) -> Report:
    """The report in a file. Raises NotAReport or ReportError, both ValueErrors that say what came instead."""
    name = clean(path.name)
    try:
        check_size(path.stat().st_size, name)
        found = parse_json(path.read_bytes(), name)
    except OSError as error:
        raise NotAReport(f"{name}: cannot be read ({error.strerror}); name a report that fuseport wrote") from None
    if not isinstance(found, dict) or found.get("schema") not in KINDS:
        schema = found.get("schema") if isinstance(found, dict) else None
        came = f"schema {clean(str(schema))[:60]!r}" if schema else "no schema"
        raise NotAReport(f"{name}: expected a report of fuseport ({', '.join(KINDS)}), found {came}")
    return found


def page_of(report: Report) -> Page:
    """The page of a report in its JSON form. Raises NotAReport for one that is not in the form its schema names."""
    schema = str(report.get("schema"))
    try:
        return KINDS[schema](_cleaned(report))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
        told = clean(str(error))[:120] or type(error).__name__
        raise NotAReport(
            f"not in the form {clean(schema)[:60]} ({type(error).__name__}: {told}); write the report again"
        ) from None


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): _cleaned(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(inner) for inner in value]
    return value
