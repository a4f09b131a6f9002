"""The README says only what is so: commands that parse, links that lead somewhere, tables that agree with the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from fuseport.export import FORMATS, cli
from fuseport.models import variants
from fuseport.models.swag_vit import SIZES
from fuseport.reparam import RULES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "tests/golden/README.md")


def commands() -> list[str]:
    """Every line of the README's shell blocks that calls one of our commands, continuation lines joined."""
    blocks = re.findall(r"```(?:bash|console)\n(.*?)```", README, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    parts = [part.strip().removeprefix("$ ") for line in lines for part in line.split("&&")]
    return [part for part in parts if part.startswith(("export-model", "fuseport"))]


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command: str) -> None:
    program, *words = shlex.split(command, comments=True)
    words = ["export", *words] if program == "export-model" else words
    found: click.Command = cli.group
    while isinstance(found, click.Group):
        context = click.Context(found)
        name, *words = words
        child = found.get_command(context, name)
        assert child, f"{command} names no command"
        found = child
    found.make_context(program, list(words))


def test_the_readme_has_commands() -> None:
    assert len(commands()) >= 5
    assert "export-model --variant shvit_s4 --format onnx --format coreml" in commands()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not target.startswith(("https://", "http://", "mailto:")):
            assert (ROOT / document).parent.joinpath(target).exists(), f"{document} links to {target}"


def test_the_table_of_rewrites_has_every_rule_in_its_order() -> None:
    section = README.split("## What folding rewrites")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE) == [rule.NAME for rule in RULES]


def test_the_table_of_variants_is_the_tables_own() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|", README, re.MULTILINE)
    assert rows == [
        (
            name,
            str(variant.preprocessing.size),
            f"{variant.parameters:,}",
            f"{variant.parameters_fused:,}",
            f"{variant.macs:,}",
        )
        for name, variant in variants().items()
        if variant.family != "swag"
    ]


def test_the_table_of_token_reduction_is_the_tables_own() -> None:
    rows = re.findall(
        r"^\| (?:`(\w+_)`|–) \| \w[^|]+: [^|]+ \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|", README, re.MULTILINE
    )
    told = {f"{prefix}vit_{size}_in1k": macs for prefix, *row in rows for size, macs in zip(SIZES, row, strict=True)}
    assert told == {name: f"{variant.macs:,}" for name, variant in variants().items() if variant.family == "swag"}
    for size in SIZES:
        assert f"`{size}` ({variants()[f'vit_{size}_in1k'].parameters:,}" in README


def test_the_table_of_formats_is_complete() -> None:
    assert re.findall(r"^\| `--format (\w+)` \|", README, re.MULTILINE) == list(FORMATS)


def test_the_folder_map_is_complete() -> None:
    mapped = set(re.findall(r"^\| `(\w+)/` \|", README, re.MULTILINE))
    assert mapped == {
        path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))
    } - {
        "build",
        "fuseport.egg-info",
    }


def test_the_options_of_the_readme_exist() -> None:
    """Every `--option` in the text belongs to some command of ours or to a tool that is named with it."""
    ours = {option for command in _all_commands() for parameter in command.params for option in parameter.opts}
    told = set(re.findall(r"`(--[a-z][a-z-]+)", README))
    assert told <= ours


def _all_commands() -> list[click.Command]:
    found: list[click.Command] = []
    waiting: list[click.Command] = [cli.group]
    while waiting:
        command = waiting.pop()
        found.append(command)
        if isinstance(command, click.Group):
            context = click.Context(command)
            waiting.extend(
                child for name in command.list_commands(context) if (child := command.get_command(context, name))
            )
    return found
