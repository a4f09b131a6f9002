"""A saved Core ML package against the rules of the Neural Engine: what was found, where in the model, and what to do.

The rules (`mil/lint/`) know operations; here each finding gets the PyTorch module that the operation came from, where
the export's report beside the package tells, and the waiver that accepts it, if there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import mil
from ..mil import lint as rules
from ..mil.features import read_interface
from ..mil.lint import CHIPS, LEVELS, RULES, Level
from ..mil.package import open_package
from .artifact import files_of
from .saved.modules import EXPORT_ID, modules_beside
from .waivers import Waiver

SCHEMA = "fuseport.lint/1"
OLDEST = "A13"


class NotLinted(ValueError):
    """A package that cannot be read; the message is one line."""


@dataclass(frozen=True)
class Finding:
    """A rule at a place. `waived` is the reason of the waiver that accepts it; empty where none does."""

    rule: str
    level: Level
    operator: str
    name: str
    module: str
    message: str
    wasted_bytes: int
    waived: str


@dataclass(frozen=True)
class PackageLint:
    """What was found in one package; `operations` is how many were looked at."""

    name: str
    path: str
    operations: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class SourceView:
    """A source as the report names it."""

    title: str
    url: str
    standing: str


@dataclass(frozen=True)
class RuleView:
    """A rule as the report explains it."""

    name: str
    level: Level
    says: str
    remedy: str
    mended_by: str
    sources: tuple[SourceView, ...]


@dataclass(frozen=True)
class LintReport:
    """A whole run: the JSON of `fuseport lint --json`. `rules` explains those that found something."""

    schema: str
    chip: str
    packages: tuple[PackageLint, ...]
    rules: tuple[RuleView, ...]
    unused_waivers: tuple[Waiver, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for package in self.packages for finding in package.findings)

    def open(self, level: Level) -> int:
        """How many findings of this level no waiver accepts."""
        return sum(finding.level == level and not finding.waived for finding in self.findings)

    def fails(self, worst: Level) -> bool:
        """Whether anything of level `worst`, or a worse one, is open. An unused waiver is as bad as a warning."""
        counted = LEVELS[: LEVELS.index(worst) + 1]
        return any(self.open(level) for level in counted) or ("warning" in counted and bool(self.unused_waivers))


def lint(paths: Sequence[Path], *, chip: str = OLDEST, waivers: Sequence[Waiver] = ()) -> LintReport:
    """Hold packages against every rule, for devices from `chip` on (a key of CHIPS).

    Raises NotLinted for what is no ML Program; nothing is executed, and of the weights only small constants are read.
    """
    packages = tuple(_package(path, chip, waivers) for path in paths)
    found = [finding for package in packages for finding in package.findings]
    used = {waiver for waiver in waivers for one in found if waiver.covers(one.rule, one.module, one.name)}
    names = {finding.rule for finding in found}
    return LintReport(
        SCHEMA, chip, packages, rule_views(names), tuple(waiver for waiver in waivers if waiver not in used)
    )


def rule_views(names: set[str] | None = None) -> tuple[RuleView, ...]:
    """The rules of these names, or all, in their order."""
    return tuple(
        RuleView(
            rule.name,
            rule.level,
            rule.says,
            rule.remedy,
            rule.mended_by,
            tuple(SourceView(source.title, source.url, source.standing) for source in rule.sources),
        )
        for rule in RULES
        if names is None or rule.name in names
    )


def _package(path: Path, chip: str, waivers: Sequence[Waiver]) -> PackageLint:
    try:
        package = open_package(path)
        function = package.functions[package.description.defaultFunctionName or next(iter(package.functions))]
        inputs = read_interface(package.description, function).inputs
    except mil.MilError as error:
        raise NotLinted(str(error)) from error
    program = rules.Program(function, inputs, sum(file.stat().st_size for file in files_of(path)))
    modules = modules_beside(path, package.description.metadata.userDefined.get(EXPORT_ID))
    found = rules.findings(program, CHIPS[chip])
    findings = tuple(_finding(rule, place, modules, waivers) for rule, place in found)
    return PackageLint(path.name, str(path), len(program.operations), findings)


def _finding(rule: rules.Rule, place: rules.Place, modules: Mapping[str, str], waivers: Sequence[Waiver]) -> Finding:
    module = modules.get(place.name, "")
    waived = next((waiver.reason for waiver in waivers if waiver.covers(rule.name, module, place.name)), "")
    return Finding(rule.name, rule.level, place.operator, place.name, module, place.message, place.wasted_bytes, waived)
