"""A model out of a user's file: whatever the files around it are called, and what is said when it gives none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fuseport.models import user_file
from fuseport.models.user_file import UserModelError, build
from torch import nn

NET = """
from torch import nn
from models import Block
from utils import WIDTH


class Net(nn.Module):
    def __init__(self, depth=1):
        super().__init__()
        self.blocks = nn.Sequential(*(Block(WIDTH) for _ in range(depth)))


def make(depth: int, *, width=3):
    return Net(depth)


def fails(depth=0):
    return 1 // depth


ready = Net()
number = 3
"""

BLOCK = """
from torch import nn


class Block(nn.Linear):
    def __init__(self, width):
        super().__init__(width, width)
"""

IN_PACKAGE = """
from torch import nn
from ..size import SIZE
from pkg.size import SIZE as AGAIN


def make():
    return nn.Linear(SIZE, AGAIN)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a `models/` and a `utils.py` of its own."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("from .block import Block\n")
    (tmp_path / "models" / "block.py").write_text(BLOCK)
    (tmp_path / "utils.py").write_text("WIDTH = 5\n")
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


@pytest.mark.parametrize("name", ["make", "Net", "ready", ""])
def test_a_function_a_class_a_module_and_the_only_class(checkout: Path, name: str) -> None:
    arguments = {"depth": 2} if name != "ready" else {}
    module, told = build(f"{checkout / 'net.py'}:{name}".rstrip(":"), arguments)
    assert len(module.blocks) == len(arguments) + 1  # pyright: ignore
    assert (told, module.training) == (name or "Net", False)


def test_two_checkouts_with_the_same_names_and_nothing_stays_behind(checkout: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("net.py", "models"):
        (checkout / name).rename(other / name)
    (other / "utils.py").write_text("WIDTH = 7\n")
    before = list(sys.path)
    module, _ = build(f"{other / 'net.py'}:Net", {})
    assert module.blocks[0].in_features == 7  # pyright: ignore
    assert sys.path == before
    assert "models" not in sys.modules or not str(sys.modules["models"].__file__).startswith(str(tmp_path))


def test_a_file_in_a_package_imports_its_neighbours(tmp_path: Path) -> None:
    package = tmp_path / "pkg" / "models"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    (package.parent / "size.py").write_text("SIZE = 4\n")
    (package / "net.py").write_text(IN_PACKAGE)
    assert build(f"{package / 'net.py'}:make", {})[0].weight.shape == (4, 4)  # pyright: ignore


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Nope", {}, "net.py has no 'Nope'; it has Net, make, fails"),
        ("number", {}, "number is int; expected a module, a class or a function"),
        ("make", {}, "make needs depth; give --model-arg depth=…"),
        ("make", {"depth": 1, "wdth": 2}, "make has no argument 'wdth'; it takes depth, width"),
        ("ready", {"depth": 1}, "ready is a model already, so it takes no --model-arg"),
        ("fails", {}, r"fails\(\) failed: ZeroDivisionError: .* \(at .*net.py:\d+: `return 1 // depth`\)"),
        ("fails", {"depth": 1}, r"fails\(depth=1\) gives int; expected an nn.Module"),
    ],
)
def test_what_gives_no_model(checkout: Path, name: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserModelError, match=message) as caught:
        build(f"{checkout / 'net.py'}:{name}", arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "content", "message"),
    [
        ("none.py:Net", None, "none.py: there is no such file"),
        ("net.txt:Net", "", "expected FILE.py:NAME"),
        ("net.py:Net", "def f(:", "cannot be imported: SyntaxError"),
        ("net.py:Net", "import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("net.py", "from torch import nn", "defines no module; name the model"),
        (
            "net.py",
            "from torch import nn\nclass A(nn.Module): pass\nclass B(nn.Module): pass",
            "defines A, B; name the",
        ),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, location: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / user_file.split(location)[0] if ".py" in location else tmp_path / "net.txt").write_text(content)
    with pytest.raises(UserModelError, match=message):
        build(str(tmp_path / location), {})


def test_what_is_made_is_a_module_in_evaluation_mode(checkout: Path) -> None:
    module, _ = build(f"{checkout / 'net.py'}:Net", {})
    assert isinstance(module, nn.Module)
    assert not any(part.training for part in module.modules())


@pytest.mark.parametrize("name", ["ends", "Net"])
def test_a_file_that_ends_the_program_is_told(tmp_path: Path, name: str) -> None:
    end = {"ends": "import sys\ndef ends():\n    sys.exit(0)\n", "Net": "import sys\nsys.exit('bye')\n"}[name]
    (tmp_path / "net.py").write_text(end)
    with pytest.raises(UserModelError, match=r"ends the program \(sys.exit\); take that out \(at .*net.py:[23]: "):
        build(f"{tmp_path / 'net.py'}:{name}", {})
