"""Does the installed stack work? Each part is used, not asked for its version: a tiny model goes all the way.

A version says little: the same torch comes in builds whose torchvision cannot be loaded, and packages that import may
still convert wrongly. So each probe does what an export does, and looks at the numbers. What goes wrong is looked up
among the combinations that are known to be broken (`REMEDIES`), which say what to do.
"""

from __future__ import annotations

import platform
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata as packages
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .artifact import in_one_line
from .quiet import quiet

if TYPE_CHECKING:
    from .tiny_model import Tiny

SCHEMA = "fuseport.doctor/1"
State = Literal["works", "broken", "missing", "advice"]
Remedy = tuple[str, str]


class Wrong(Exception):
    """What a probe found; the message is one line. `fix` says what to do, where the probe itself knows."""

    def __init__(self, told: str, fix: str | None = None, *, advice: bool = False) -> None:
        super().__init__(told)
        self.fix, self.advice = fix, advice


@dataclass(frozen=True)
class Probe:
    """One part of the stack: `run` gets an empty folder, says what works, and raises where something does not.

    `needs` are distributions; where one is missing the probe does not run, and `extra` installs it (None: pip itself).
    """

    name: str
    needs: tuple[str, ...]
    run: Callable[[Path], str]
    extra: str | None = None
    writes: bool = False
    """Whether it is about a format, one of which must work."""


@dataclass(frozen=True)
class Found:
    """What a probe found. Only "broken" is a failure: a format that is "missing" was not asked for."""

    probe: str
    state: State
    told: str
    fix: str | None
    seconds: float


@dataclass(frozen=True)
class Diagnosis:
    """All findings. `works`: nothing is broken, and at least one format can be written and run."""

    schema: str
    works: bool
    found: tuple[Found, ...]
    versions: dict[str, str]
    system: str


REMEDIES: tuple[Remedy, ...] = (
    (
        r"torchvision::|torchvision.*(undefined symbol|has no attribute)|_C\.so|libtorch",
        "torch and torchvision are of different builds; install both from one index: "
        'pip install --force-reinstall "torch>=2.8,<2.15" torchvision',
    ),
    (
        r"BlobWriter not loaded|BlobStorage|libmilstorage",
        "coremltools has no native part here; use Python 3.11 to 3.13",
    ),
    (
        r"compiled using NumPy 1|numpy\.(core|dtype size)",
        "a package was built for NumPy 1; pip install -U that package",
    ),
    (r"Descriptors cannot be created|protobuf", "protobuf does not fit; pip install -U protobuf onnx coremltools"),
    (r"Unsupported model IR version|opset .* not|not implemented", 'pip install -U "onnxruntime>=1.20"'),
    (r"onnxscript|onnx_ir", 'pip install -U "onnxscript>=0.5" onnx'),
    (r"only 0-dimensional arrays|length-1 arrays", 'numpy 2.4 breaks coremltools 9.0 here; pip install "numpy<2.4"'),
)
"""What an error says (a pattern) → what to do. The first that fits is named."""

OLDEST, TOO_NEW = (2, 8), (2, 15)
"""The range of torch that fuseport is tested with; the second is the first that is not."""


def diagnose(probes: Sequence[Probe] | None = None) -> Diagnosis:
    """Run the probes, by default all. Nothing is raised: whatever a broken stack does becomes a finding."""
    chosen = PROBES if probes is None else tuple(probes)
    found = tuple(_found(probe) for probe in chosen)
    written = [one.state == "works" for probe, one in zip(chosen, found, strict=True) if probe.writes]
    works = all(one.state != "broken" for one in found) and any(written)
    return Diagnosis(SCHEMA, works, found, dict(_versions(chosen)), _system())


def _found(probe: Probe) -> Found:
    begin = time.perf_counter()
    missing = [name for name in probe.needs if not _installed(name)]
    if missing:
        wanted = f'"fuseport[{probe.extra}]"' if probe.extra else " ".join(missing)
        state: State = "missing" if probe.extra else "broken"
        return Found(probe.name, state, f"not installed: {', '.join(missing)}", f"pip install {wanted}", 0.0)
    state, told, fix = _tried(probe)
    return Found(probe.name, state, told, fix, round(time.perf_counter() - begin, 2))


def _tried(probe: Probe) -> tuple[State, str, str | None]:
    try:
        with tempfile.TemporaryDirectory() as folder, quiet("coremltools"):
            return "works", probe.run(Path(folder)), None
    except Wrong as wrong:
        return "advice" if wrong.advice else "broken", str(wrong), wrong.fix or remedy(str(wrong))
    except (Exception, SystemExit) as error:  # a broken package may raise anything, on import too
        told = f"{type(error).__name__}: {in_one_line(error)}"
        again = f"pip install --force-reinstall {' '.join(probe.needs)}" if probe.needs else None
        return "broken", told, remedy(told) or again


def remedy(told: str) -> str | None:
    """What to do about an error, if it is a known one."""
    return next((fix for pattern, fix in REMEDIES if re.search(pattern, told, re.IGNORECASE)), None)


def _torch(folder: Path) -> str:
    """Captures, folds, and computes the same afterwards; then the version, which alone is no fault."""
    tiny = _tiny()
    error = tiny.error_of_folding()
    if not error < 1e-5:
        raise Wrong(f"the folded model is off by {error:.1e}", 'pip install --force-reinstall "torch>=2.8,<2.15"')
    version = packages.version("torch")
    number = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if not OLDEST <= number < TOO_NEW:
        wanted = 'pip install "torch>=2.8,<2.15" torchvision'
        raise Wrong(f"torch {version} works on a tiny model, but is not a version that is tested", wanted, advice=True)
    return f"torch {version} captures and folds; error {error:.0e}"


def _torchvision(folder: Path) -> str:
    """An operator of torchvision's own, which lies in its native part."""
    import torch
    from torchvision.ops import nms

    kept = nms(torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [4, 4, 6, 6]]), torch.tensor([0.9, 0.8, 0.7]), 0.5)
    if kept.tolist() != [0, 2]:
        raise Wrong(f"its nms keeps {kept.tolist()} where [0, 2] is right")
    return f"torchvision {packages.version('torchvision')} with its native operators"


def _timm(folder: Path) -> str:
    import torch

    from ..models import create

    answer = create("timm/test_vit", num_classes=5)(torch.zeros(1, 3, 160, 160))
    if answer.shape != (1, 5):
        raise Wrong(f"a network of timm answers {tuple(answer.shape)} where (1, 5) is right")
    return f"timm {packages.version('timm')} builds networks that run"


def _format(name: str) -> Callable[[Path], str]:
    """A probe that writes the tiny model in a format, opens the file, runs it on every engine, and compares."""

    def run(folder: Path) -> str:
        errors = _tiny().errors_of(name, folder)
        told = ", ".join(f"{engine} {error:.0e}" for engine, error in errors.items())
        limit = 1e-5 if name == "onnx" else 1e-2
        if not errors:
            raise Wrong("no engine here runs the file that was written")
        if not all(error < limit for error in errors.values()):
            raise Wrong(f"the file computes something else: relative error {told}; at most {limit:g} is right")
        return f"written, opened and run; relative error: {told}"

    return run


def _traced(folder: Path) -> str:
    """coremltools' older route. fuseport does not use it, but scripts of the user's may."""
    from .formats.to_coreml import translate_traced

    tiny = _tiny()
    try:
        translate_traced(tiny.net, tiny.image)
    except TypeError as error:
        fix = 'for your own scripts with torch.jit.trace: pip install "numpy<2.4"; fuseport itself needs nothing'
        told = f"coremltools cannot convert traced models that read a shape: {in_one_line(error)}"
        raise Wrong(told, fix, advice=True) from error
    return "coremltools converts traced models too"


def _page(folder: Path) -> str:
    from jinja2 import Environment

    if Environment(autoescape=True).from_string("{{ x }}").render(x="<") != "&lt;":
        raise Wrong("jinja2 does not escape")
    return "HTML reports can be written"


def _tiny() -> Tiny:
    from .tiny_model import tiny

    return tiny()


PROBES: tuple[Probe, ...] = (
    Probe("torch", ("torch", "numpy"), _torch),
    Probe("torchvision", ("torchvision",), _torchvision),
    Probe("timm", ("timm",), _timm),
    Probe("ONNX", ("onnx", "onnxruntime", "onnxscript", "onnxsim"), _format("onnx"), "onnx", writes=True),
    Probe("Core ML", ("coremltools",), _format("coreml"), "coreml", writes=True),
    Probe("Core ML by torch.jit.trace", ("coremltools",), _traced, "coreml"),
    Probe("reports", ("jinja2",), _page, "report"),
)
"""In this order; a part of your own is one row more."""


def _installed(distribution: str) -> bool:
    try:
        packages.version(distribution)
    except packages.PackageNotFoundError:
        return False
    return True


def _versions(probes: Sequence[Probe]) -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys(["fuseport", *(name for probe in probes for name in probe.needs)]):
        if _installed(name):
            yield name, packages.version(name)


def _system() -> str:
    return f"{platform.system()} {platform.release()}, {platform.machine()}, Python {platform.python_version()}"
