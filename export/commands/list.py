"""`fuseport list`."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(as_json: bool) -> None:
    """All variants, with measured parameters and MACs beside the published ones."""
    from .. import catalogue

    catalogue.print_list(as_json=as_json)
