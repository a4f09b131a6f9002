"""What is known of the variants, for `fuseport list` and `fuseport show`: measured figures beside published ones."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from .. import models
from ..models.variant import Claim, Variant, wrong_claims
from .job import Checks, Job, Source
from .request import Request
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
    out.print(f"[bold]{variant.name}[/] ({variant.family}){f', {variant.paper}' if variant.paper else ''}")
    if (how := variant.preprocessing) is not None:
        height, width = how.sides
        resized = f"both sides to {how.resize}" if how.squash else f"shorter side to {how.resize}"
        out.print(f"input          {how.colour}, {height}×{width} px")
        out.print(f"preprocessing  {resized} px ({how.interpolation}), centre crop {height}×{width} px,")
        out.print(f"               mean {how.mean}, std {how.std}")
    fused = f", {variant.parameters_fused:,} after folding" if variant.parameters_fused else ""
    out.print(f"classes        {variant.num_classes:,}")
    out.print(f"parameters     {_count(variant.parameters)}{fused}")
    out.print(f"MACs           {_count(variant.macs)}")
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


def print_own(source: Source, *, as_json: bool) -> None:
    """A model of the user's: what it takes and gives, and how many parameters it has. It is run once."""
    from .subject import subject

    seen = subject(Job(source, (), Request(), Checks(samples=1)))
    batch = source.batch or 1
    found: dict[str, Any] = {
        "name": seen.loaded.variant.name,
        "family": seen.loaded.variant.family,
        "inputs": [{"name": one.name, "shape": [batch, *one.shape], "dtype": one.dtype} for one in seen.loaded.inputs],
        "outputs": [
            {"name": name, "shape": [batch, *values.shape[1:]], "dtype": str(values.dtype)}
            for name, values in seen.reference.items()
        ],
        "parameters": seen.loaded.variant.parameters,
    }
    if as_json:
        _print_json(found)
        return
    out = console()
    out.print(f"{found['name']} ({found['family']})", style="bold", markup=False)
    for what in ("inputs", "outputs"):
        for one in found[what]:
            shape = ", ".join(map(str, one["shape"]))
            out.print(f"{what[:-1]:<14} {one['name']} ({shape}) {one['dtype']}", markup=False)
    out.print(f"parameters     {_count(found['parameters'])}")


def facts(variant: Variant) -> dict[str, Any]:
    """What the JSON of both commands has of a variant."""
    wrong = dict(wrong_claims(variant))
    return {
        "name": variant.name,
        "family": variant.family,
        "paper": variant.paper,
        "preprocessing": asdict(variant.preprocessing) if variant.preprocessing else None,
        "num_classes": variant.num_classes,
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
        str(variant.preprocessing.size) if variant.preprocessing else "–",
        _count(variant.parameters),
        f"{variant.parameters_fused:,}" if variant.parameters_fused else "–",
        _published(variant, "parameters"),
        _count(variant.macs),
        _published(variant, "macs"),
        _published(variant, "top1_percent"),
    )


def _count(number: int | None) -> str:
    return "not counted" if number is None else f"{number:,}"


def _published(variant: Variant, what: str) -> str:
    """The published figures of a kind, later ones last; ✗ behind those that are wrong."""
    wrong = dict(wrong_claims(variant))
    found: list[Claim] = [claim for claim in variant.claims if claim.what == what]
    return ", ".join(f"{claim.text} ✗" if claim in wrong else claim.text for claim in found) or "–"


def _print_json(value: Any) -> None:
    import click

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
