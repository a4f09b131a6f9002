"""Latencies that authors published for a variant, beside an imported one, with what differs between the two methods.

SwiftFormer's README says that its latencies come from Xcode 14's performance report on an iPhone 14 with iOS 16, on
the Neural Engine: the same tool as the reports imported here. It does not say which statistic they are, nor how often
the report was taken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .join import Join
from .report import Report
from .stage import statistic


@dataclass(frozen=True)
class Published:
    """A latency as its authors give it; `text` is what stands at `source`."""

    variant: str
    milliseconds: float
    text: str
    device: str
    os: str
    unit: str
    tool: str
    shape: tuple[int, ...]
    source: str


@dataclass(frozen=True)
class Beside:
    """A published latency and an imported median, both in seconds, with their ratio (imported over published)."""

    published: Published
    seconds: float
    ratio: float
    differences: tuple[str, ...]


def _swiftformer(variant: str, milliseconds: float) -> Published:
    return Published(
        variant=variant,
        milliseconds=milliseconds,
        text=f"{milliseconds}ms",
        device="iPhone 14",
        os="iOS 16",
        unit="Neural Engine",
        tool="Xcode 14 performance report",
        shape=(1, 3, 224, 224),
        source="https://github.com/Amshaker/SwiftFormer (README, table of models; method under Latency Measurement)",
    )


LATENCIES = (
    _swiftformer("swiftformer_xs", 0.7),
    _swiftformer("swiftformer_s", 0.8),
    _swiftformer("swiftformer_l1", 1.1),
    _swiftformer("swiftformer_l3", 1.9),
)


def beside(report: Report, join: Join | None = None) -> Beside | None:
    """The published latency of the report's variant beside its median prediction; None when there is none."""
    seconds = statistic(report.stages["predict"], "median") if "predict" in report.stages else None
    name = (join.variant if join and join.variant else report.model.name) or ""
    found = find(name)
    if found is None or not seconds:
        return None
    by_name = not (join and join.variant)
    differences = tuple(_differences(report, found, by_name))
    return Beside(found, seconds, seconds / (found.milliseconds / 1e3), differences)


def find(name: str) -> Published | None:
    """The published latency of a variant, from its name or a file name that begins with it (`SwiftFormer-L1_fp16`)."""
    plain = re.sub(r"[-. ]", "_", name.lower())
    return next((p for p in LATENCIES if plain == p.variant or plain.startswith(f"{p.variant}_")), None)


def _differences(report: Report, published: Published, by_name: bool) -> list[str]:
    n = report.stages["predict"].n
    differences = [
        f"statistic: median of {n} predictions here, not stated there (Xcode shows the median by default)",
        f"tool: {published.tool} there, {_tool(report)} here",
    ]
    pairs = (("device", report.device.model, published.device), ("OS", report.device.os, published.os))
    for what, ours, theirs in pairs:
        if ours is None or not (ours == theirs or ours.startswith(f"{theirs}.")):
            differences.append(f"{what}: {ours or 'unknown'} here, {theirs} there")
    differences.append(f"compute units: setting {report.config.units or 'unknown'} here, {published.unit} there")
    shapes = {f.shape for f in report.model.inputs}
    if published.shape not in shapes:
        known = ", ".join(str(list(s)) for s in shapes if s) or "unknown"
        differences.append(f"input: {known} here, {list(published.shape)} there")
    if by_name:
        differences.append(f"the variant is taken from the model's name {report.model.name}, not from an export id")
    return differences


def _tool(report: Report) -> str:
    return "an Xcode report of unknown version" if report.source.format == "xcode" else report.source.format
