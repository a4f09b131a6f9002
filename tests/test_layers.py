"""The house rules about imports, held true by reading the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("export", "mil", "models", "reparam", "validate")
MAY_IMPORT = {
    "reparam": set(),
    "mil": set(),
    "validate": set(),
    "models": {"reparam"},
    "export": {"mil", "models", "reparam", "validate"},
}
"""Which folders of ours a folder may import, beside itself."""

LIBRARY_HOMES = {
    "coremltools": ("export/formats/", "export/backends/core_ml.py", "mil/"),
    "onnx": (
        "export/formats/",
        "export/saved/opened.py",
        "export/saved/onnx_stream.py",
        "export/saved/points.py",
        "export/saved/modules.py",
        "export/saved/onnx_cost.py",
        "export/diff/of_onnx.py",
        "mil/",
    ),
    "onnx_ir": ("export/formats/", "mil/"),
    "onnxruntime": ("export/saved/session.py", "export/saved/onnx_stream.py", "mil/"),
    "onnxscript": ("export/formats/",),
    "onnxsim": ("export/formats/",),
    "timm": ("models/", "export/labels.py"),
}

STANDARD = sys.stdlib_module_names


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(file: Path) -> Iterator[str]:
    """Every module that the file imports, anywhere in it; ours as `fuseport.folder…`."""
    package = ["fuseport", *file.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ([f"{module}.{name.name}" for name in node.names] if module == "fuseport" else [module])


def folder_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "fuseport" and len(parts) > 1 else None


@pytest.mark.parametrize("folder", [name for name in FOLDERS if (ROOT / name).exists()])
def test_folders_import_in_one_direction(folder: str) -> None:
    wrong = {
        f"{file.relative_to(ROOT)} imports {module}"
        for file in sources(folder)
        for module in imported(file)
        if folder_of(module) not in MAY_IMPORT[folder] | {folder, None}
    }
    assert not wrong


def test_each_backend_library_has_one_home() -> None:
    wrong = {
        f"{place} imports {module}"
        for folder in FOLDERS
        for file in sources(folder)
        for module in imported(file)
        if (homes := LIBRARY_HOMES.get(module.split(".")[0]))
        and not (place := file.relative_to(ROOT).as_posix()).startswith(homes)
    }
    assert not wrong


def test_validate_needs_numpy_alone() -> None:
    outside = {module.split(".")[0] for file in sources("validate") for module in imported(file)}
    assert outside <= STANDARD | {"numpy", "fuseport"}


def test_reparam_needs_torch_alone() -> None:
    outside = {module.split(".")[0] for file in sources("reparam") for module in imported(file)}
    assert outside <= STANDARD | {"torch", "fuseport"}


def test_the_package_list_is_complete() -> None:
    """Every folder with an __init__.py is listed in setup.cfg, and nothing else."""
    import configparser

    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(read["options"]["packages"].split())
    mapped = dict(line.split(" = ") for line in read["options"]["package_dir"].strip().splitlines())
    folders = {file.parent.relative_to(ROOT) for folder in FOLDERS for file in (ROOT / folder).rglob("__init__.py")}
    assert listed == {f"fuseport.{'.'.join(folder.parts)}" for folder in folders}
    assert mapped == {f"fuseport.{'.'.join(folder.parts)}": folder.as_posix() for folder in folders}


def test_help_answers_without_loading_the_heavy_libraries() -> None:
    heavy = ("torch", "numpy", "coremltools", "onnx", "onnxruntime", "timm", "rich")
    code = f"""
import sys, fuseport.export.cli as cli
for name in cli.COMMANDS:
    cli.group.get_command(None, name)
print(' '.join(n for n in {heavy!r} if n in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")
    assert done.returncode == 0


def test_no_file_is_a_drawer() -> None:
    names = {file.name for folder in FOLDERS for file in sources(folder)}
    assert not names & {"utils.py", "common.py", "types.py", "helpers.py", "misc.py"}
