"""`fuseport show VARIANT`."""

from __future__ import annotations

import click


@click.command()
@click.argument("variant")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(variant: str, as_json: bool) -> None:
    """One variant: input, preprocessing, options, costs, published claims (wrong ones are marked), weights."""
    from ... import models
    from .. import catalogue

    try:
        catalogue.print_variant(models.find(variant), as_json=as_json)
    except models.UnknownVariantError as error:
        raise click.UsageError(str(error)) from error
