"""`fuseport show VARIANT`, or `--model FILE.py:NAME`."""

from __future__ import annotations

from typing import Any

import click

from .model_options import input_shapes, model_arg, named, own_options


@click.command()
@click.argument("variant", required=False)
@own_options
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(variant: str | None, as_json: bool, **options: Any) -> None:
    """One variant: input, preprocessing, options, costs, published claims (wrong ones are marked), weights.

    Of a model of your own: its inputs, outputs and parameters.
    """
    from ... import models
    from .. import catalogue
    from ..job import Source

    arguments = dict(map(model_arg, options["model_args"]))
    source = Source(named(variant, options), inputs=input_shapes(options), model_args=arguments, own_weights=True)
    try:
        if source.is_file:
            catalogue.print_own(source, as_json=as_json)
        elif arguments or source.inputs:
            raise click.UsageError(f"--model-arg and --input-shape are for --model; {source.variant} is a variant")
        else:
            catalogue.print_variant(models.find(source.variant), as_json=as_json)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
