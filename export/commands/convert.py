"""`fuseport convert SOURCE.mlpackage TARGET.onnx`."""

from __future__ import annotations

from pathlib import Path

import click

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("source", type=FILE)
@click.argument("target", type=FILE)
def command(source: Path, target: Path) -> None:
    """Convert a saved Core ML package (SOURCE.mlpackage) to ONNX (TARGET.onnx), in float32."""
    from ... import mil
    from ..atomic import staging

    if target.suffix != ".onnx":
        raise click.UsageError(f"TARGET must end in .onnx, got {target}")
    model = mil.load(source)
    with staging(target) as (path,):
        mil.save_onnx(model, path)
    click.echo(f"{source.name} → {target} ({len(model.function.block.operations)} operations)")
