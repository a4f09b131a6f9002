"""Findings that a team has accepted, each with its reason, in a file beside the code.

    [[waive]]
    rule = "softmax-over-space"
    where = "blocks.*.attn*"        # a module path or a name of an operation, with * and ?; everywhere if left out
    reason = "measured on an iPhone 15: 0.1 ms"

A waiver without a reason is refused, and one that nothing needs any more is reported.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

KEYS = {"rule", "where", "reason"}
LARGEST = 1 << 20


class WaiverError(ValueError):
    """A file of waivers that cannot be used; the message is one line."""


@dataclass(frozen=True)
class Waiver:
    """`where` is a pattern of module paths and operation names."""

    rule: str
    reason: str
    where: str = "*"

    def covers(self, rule: str, *names: str) -> bool:
        """Whether it holds for a finding of `rule` at a place of any of these names."""
        return rule == self.rule and any(fnmatchcase(name, self.where) for name in names)


def read_waivers(path: Path, rules: Collection[str]) -> tuple[Waiver, ...]:
    """The waivers in a TOML file; `rules` are the names that there are. Raises WaiverError."""
    try:
        if path.stat().st_size > LARGEST:
            raise WaiverError(f"{path}: {path.stat().st_size:,} bytes; a file of waivers has a few lines")
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WaiverError(f"{path}: cannot be read ({error.strerror}); --waivers takes a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WaiverError(f"{path}: is not TOML ({error}); resolve merge conflicts, or see the README") from None
    listed = found.get("waive", [])
    if set(found) - {"waive"} or not isinstance(listed, list):
        raise WaiverError(f"{path}: expected [[waive]] tables alone, found {', '.join(sorted(found))}")
    return tuple(_waiver(entry, f"{path}: waiver {number}", rules) for number, entry in enumerate(listed, 1))


def _waiver(entry: object, where: str, rules: Collection[str]) -> Waiver:
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise WaiverError(f"{where}: expected a table of texts: rule, reason and perhaps where")
    if unknown := set(entry) - KEYS:
        raise WaiverError(f"{where}: unknown key {sorted(unknown)[0]!r}; known: {', '.join(sorted(KEYS))}")
    if entry.get("rule") not in rules:
        raise WaiverError(f"{where}: unknown rule {entry.get('rule', '')!r}; `fuseport lint --rules` lists them")
    if not entry.get("reason", "").strip():
        raise WaiverError(f"{where}: {entry['rule']} is waived without a reason; say why it may stay")
    return Waiver(**entry)
