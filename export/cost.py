"""What models and files cost before anything is run. Counted, not measured; a few seconds for any size.

A model is captured on torch's meta device, so it needs no weights and no memory for them. A file is counted as it lies
there: folded, simplified, in its own precision. Both for one picture.

Arithmetic intensity is 2 × MACs over the bytes of weights and activations, each weight read once and each activation as
often as operators read and write it. For the SWAG transformers the seed's own counting, which its README prints as
GFLOPs, stands beside ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..reparam.layer_cost import LayerCost, layers
from ..validate.roofline import Least, Roofline, least
from .given import Given
from .report import report_json

SCHEMA = "fuseport.cost/1"


@dataclass(frozen=True)
class Total:
    """Sums over operators: of a whole subject, or of one module with all that is inside it."""

    parameters: int
    macs: int
    weight_bytes: int
    activation_bytes: int
    """Read and written by the operators together."""
    operators: int

    @property
    def intensity(self) -> float:
        """Floating-point operations per byte moved."""
        moved = self.weight_bytes + self.activation_bytes
        return 2 * self.macs / moved if moved else 0.0


@dataclass(frozen=True)
class SeedLayer:
    """A layer in the seed's counting: tokens that it takes, that pass its attention, that it gives; operations."""

    index: int
    tokens_in: int
    tokens_through: int
    tokens_out: int
    gflops: float


@dataclass(frozen=True)
class SeedCount:
    """The seed's own counting. `statement` says what an input-dependent method was counted with; empty otherwise."""

    gflops: float
    outside_layers_gflops: float
    layers: tuple[SeedLayer, ...]
    statement: str


@dataclass(frozen=True)
class CostReport:
    """One subject. `layers` has its operators in the order of execution."""

    subject: str
    kind: str
    inputs: dict[str, tuple[int | str, ...]]
    total: Total
    intensity: float
    layers: tuple[LayerCost, ...]
    not_counted: tuple[str, ...]
    """Operator types that compute products which the MACs leave out."""
    seed: SeedCount | None


@dataclass(frozen=True)
class CostReports:
    """A whole run, and the JSON of `fuseport cost --json`."""

    schema: str
    reports: tuple[CostReport, ...]
    roofline: Roofline | None = None
    """Of this machine, if it was measured."""
    least: tuple[Least, ...] = ()
    """What each subject takes at least on this machine, where the roofline is known."""


def cost(given: Given) -> CostReport:
    """What the subject costs for one picture. Raises ValueError in one line for what cannot be read or captured."""
    if given.kind == "onnx":
        from .saved.onnx_cost import onnx_layers

        return _report(given, *onnx_layers(given.file))
    if given.kind == "coreml":
        from .saved.mil_cost import mil_layers

        return _report(given, *mil_layers(given.file))
    return _model_cost(given)


def _model_cost(given: Given) -> CostReport:
    import torch

    from ..reparam import capture
    from .loading import inputs_of, skeleton

    module, inputs = skeleton(given.model), inputs_of(given.model)
    device = next((value.device for value in module.parameters()), torch.device("cpu"))
    example = [torch.zeros(1, *spec.shape[1:], dtype=getattr(torch, spec.dtype), device=device) for spec in inputs]  # type: ignore[arg-type]
    counted = layers(capture(module, example))
    shapes: dict[str, tuple[int | str, ...]] = {spec.name: (1, *spec.shape[1:]) for spec in inputs}
    return _report(given, counted, shapes, (), _seed(module))


def _report(
    given: Given,
    counted: Sequence[LayerCost],
    inputs: dict[str, tuple[int | str, ...]],
    not_counted: Sequence[str],
    seed: SeedCount | None = None,
) -> CostReport:
    total = total_of(counted)
    return CostReport(given.name, given.kind, inputs, total, total.intensity, tuple(counted), tuple(not_counted), seed)


def total_of(counted: Sequence[LayerCost]) -> Total:
    """The sums."""
    return Total(
        parameters=sum(layer.parameters for layer in counted),
        macs=sum(layer.macs for layer in counted),
        weight_bytes=sum(layer.weight_bytes for layer in counted),
        activation_bytes=sum(layer.read_bytes + layer.written_bytes for layer in counted),
        operators=len(counted),
    )


def by_module(counted: Sequence[LayerCost], depth: int | None = None) -> dict[str, Total]:
    """The sums by module path, cut to `depth` components, in the order of first execution."""
    grouped: dict[str, list[LayerCost]] = {}
    for layer in counted:
        grouped.setdefault(".".join(layer.module.split(".")[:depth]), []).append(layer)
    return {path: total_of(inside) for path, inside in grouped.items()}


def _seed(module: Any) -> SeedCount | None:
    """None for other families, and for an option whose count the seed does not have."""
    from ..models.swag_cost import seed_cost
    from ..models.swag_vit import SwagViT

    if not isinstance(module, SwagViT):
        return None
    try:
        found = seed_cost(module)
    except ValueError:
        return None
    told = tuple(
        SeedLayer(layer.index, layer.tokens_in, layer.tokens_through, layer.tokens_out, layer.flops / 1e9)
        for layer in found.layers
    )
    return SeedCount(found.gflops, found.frame / 1e9, told, found.statement)


def least_time(total: Total, roofline: Roofline) -> Least:
    """The least time for one picture. An engine that fuses operators moves less than is counted here."""
    return least(roofline, flops=2.0 * total.macs, moved=float(total.weight_bytes + total.activation_bytes))


def cost_json(reports: Sequence[CostReport], roofline: Roofline | None = None) -> str:
    """The reports as JSON text with a final newline."""
    bounds = tuple(least_time(report.total, roofline) for report in reports) if roofline else ()
    return report_json(CostReports(SCHEMA, tuple(reports), roofline, bounds))
