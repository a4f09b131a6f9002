"""What is known of the variants, for `fuseport list` and `fuseport show`: measured figures beside published ones."""

from __future__ import annotations

import json
from typing import Any

from .. import models
from ..models.variant import Claim, Variant, wrong_claims
from .terminal import console, table


def print_list(*, as_json: bool) -> None:
    """All variants, a line each; published figures that measurement contradicts are marked."""
    if as_json:
        _print_json([facts(variant) for variant in models.variants().values()])
        return
    columns = ("variant", "pixels", "parameters", "fused", "published", "MACs", "published", "top-1")
    listed = table(*columns, left=("variant",))
    for variant in models.variants().values():
        listed.add_row(*_row(variant))
    out = console()
    out.print(listed)
    for variant in models.variants().values():
        for claim, measured in wrong_claims(variant):
            out.print(f"✗ {variant.name}: {claim.what} {claim.text} ({claim.source}) is wrong: {measured}")


def print_variant(variant: Variant, *, as_json: bool) -> None:
    """Everything about one variant."""
    if as_json:
        _print_json(facts(variant))
        return
    out = console()
    how = variant.preprocessing
    out.print(f"[bold]{variant.name}[/] ({variant.family}), {variant.paper}")
    out.print(f"input          {how.colour}, {how.size}×{how.size} px")
    out.print(f"preprocessing  shorter side to {how.resize} px ({how.interpolation}), centre crop {how.size} px,")
    out.print(f"               mean {how.mean}, std {how.std}")
    fused = f", {variant.parameters_fused:,} after folding" if variant.parameters_fused else ""
    out.print(f"parameters     {variant.parameters:,}{fused}")
    out.print(f"MACs           {variant.macs:,}")
    wrong = dict(wrong_claims(variant))
    for claim in variant.claims:
        verdict = f"  [red]✗ wrong: {wrong[claim]}[/]" if claim in wrong else ""
        out.print(f"published      {claim.what} {claim.text}, {claim.source}{verdict}")
    for option, told in variant.model_args.items():
        out.print(f"option         {option}: {told}")
    for found in variant.downloads:
        out.print(f"weights        {found.layout}: {found.url}")
    if variant.weights_of:
        out.print(f"               those of {variant.weights_of}")


def facts(variant: Variant) -> dict[str, Any]:
    """What the JSON of both commands has of a variant."""
    wrong = dict(wrong_claims(variant))
    how = variant.preprocessing
    return {
        "name": variant.name,
        "family": variant.family,
        "paper": variant.paper,
        "preprocessing": {field: getattr(how, field) for field in how.__dataclass_fields__},
        "parameters": variant.parameters,
        "parameters_fused": variant.parameters_fused,
        "macs": variant.macs,
        "claims": [
            {"what": claim.what, "text": claim.text, "source": claim.source, "wrong": wrong.get(claim)}
            for claim in variant.claims
        ],
        "options": variant.model_args,
        "weights_of": variant.weights_of,
        "downloads": [{"url": found.url, "layout": found.layout} for found in variant.downloads],
    }


def _row(variant: Variant) -> tuple[str, ...]:
    return (
        variant.name,
        str(variant.preprocessing.size),
        f"{variant.parameters:,}",
        f"{variant.parameters_fused:,}" if variant.parameters_fused else "–",
        _published(variant, "parameters"),
        f"{variant.macs:,}",
        _published(variant, "macs"),
        _published(variant, "top1_percent"),
    )


def _published(variant: Variant, what: str) -> str:
    """The published figures of a kind, later ones last; ✗ behind those that are wrong."""
    wrong = dict(wrong_claims(variant))
    found: list[Claim] = [claim for claim in variant.claims if claim.what == what]
    return ", ".join(f"{claim.text} ✗" if claim in wrong else claim.text for claim in found) or "–"


def _print_json(value: Any) -> None:
    import click

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
