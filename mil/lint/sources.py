"""The public sources of the rules. Apple documents little of its Neural Engine; each source says how far it goes.

Copies of Apple's rules with altered numbers circulate: the repository named here is the one to read.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Where a rule is said. `standing` is whose word it is."""

    title: str
    url: str
    standing: str


_APPLE = "Apple's guidance"
_GUIDES = "https://apple.github.io/coremltools/docs-guides/source"

APPLE_RULES = Source(
    "Apple, Neural Engine rules (coreai-models, 2026)",
    "https://github.com/apple/coreai-models/blob/main/skills/skills/model-authoring/references/neural_engine_rules.md",
    _APPLE,
)
APPLE_TRANSFORMERS = Source(
    "Apple, Deploying Transformers on the Apple Neural Engine (2022)",
    "https://machinelearning.apple.com/research/neural-engine-transformers",
    _APPLE,
)
APPLE_FLEXIBLE = Source("Apple, Core ML Tools guide: Flexible Input Shapes", f"{_GUIDES}/flexible-inputs.html", _APPLE)
APPLE_TYPES = Source("Apple, Core ML Tools guide: Typed Execution", f"{_GUIDES}/typed-execution.html", _APPLE)
APPLE_UTILITIES = Source("Apple, Core ML Tools guide: MLModel Utilities", f"{_GUIDES}/mlmodel-utilities.html", _APPLE)
GUIDE = Source(
    "S. Bryngelson, Apple Neural Engine: Architecture, Programming, and Performance (2026)",
    "https://arxiv.org/abs/2606.22283",
    "reverse engineered, not endorsed by Apple",
)
NOTES = Source(
    "M. Hollemans, Which Core ML layers are not supported by the ANE?",
    "https://github.com/hollance/neural-engine/blob/master/docs/unsupported-layers.md",
    "a developer's notes, incomplete by their own word",
)


def issue(number: int) -> Source:
    """An issue of apple/coremltools."""
    return Source(
        f"coremltools issue {number}", f"https://github.com/apple/coremltools/issues/{number}", "a user's report"
    )
