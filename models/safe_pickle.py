"""The pickle of a checkpoint, loaded without running it, and an account of what it wanted to run.

A pickle is a program. torch's restricted unpickler (`weights_only=True`) builds tensors and plain containers only;
beside the weights, training scripts leave odds and ends that it does not know: argument namespaces, paths, NumPy
scalars. They are let through by name, but none of these classes is ever built: each name stands for a placeholder that
swallows what it is given, so that no constructor and no `__setstate__` of another library sees bytes of the file
(`numpy.dtype.__setstate__`, for one, takes object flags from it). Any other name stops the load.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

_SAVE_AGAIN = "save the weights alone: torch.save(model.state_dict(), 'weights.pth')"

_HARMLESS = (  # names found beside the weights in training checkpoints; nothing here is imported
    "argparse.Namespace", "types.SimpleNamespace", "torch.torch_version.TorchVersion",
    "datetime.datetime", "datetime.date", "datetime.timedelta",
    "builtins.dict", "builtins.list", "builtins.int", "builtins.float",  # as what a defaultdict makes
    "numpy.dtype", "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"{module}.{pure}{system}Path" for module in ("pathlib", "pathlib._local") for pure in ("", "Pure")
      for system in ("Posix", "Windows", "")),
)  # fmt: skip


class Placeholder:
    """Stands for an object of training state: takes any arguments and any state, keeps nothing."""

    def __new__(cls, *_args: object) -> Placeholder:
        return super().__new__(cls)

    def __init__(self, *_args: object) -> None: ...

    def __setstate__(self, _state: object) -> None: ...


def _plain_dict(*_args: object) -> dict[Any, Any]:
    """Stands for `collections.defaultdict`: the items that follow in the pickle go into a plain dict."""
    return {}


def load_pickle(path: Path, *, mmap: bool) -> object:
    """What torch.save put into the file, tensors on the CPU; with `mmap` they are read from the file when first used.

    Raises pickle.UnpicklingError, its message one line without the path, when the pickle is damaged or would run code.
    """
    allowed: list[Any] = [*((Placeholder, name) for name in _HARMLESS), (_plain_dict, "collections.defaultdict")]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
            warnings.simplefilter("ignore")  # remarks on the pickle protocol; what matters is raised
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # a damaged pickle fails in any operation of the unpickler, with any exception
        raise pickle.UnpicklingError(_why_not(path, error)) from error


def asks_for(names: list[str]) -> str:
    """The words of a refusal for the callables that a pickle asks for."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"refused, because loading it would run code: it asks for {', '.join(names[:3])}{more}"


def callables_in(file: IO[bytes]) -> list[str]:
    """Every `module.name` that the pickles at the start of `file` ask for, in order, by disassembly: nothing is run."""
    names: dict[str, None] = {}
    texts = ["", ""]
    try:
        for _ in range(5):  # the legacy format has five: magic number, version, system, content, storage keys
            for opcode, argument, _position in pickletools.genops(file):
                if opcode.name == "GLOBAL":
                    names[str(argument).replace(" ", ".").replace("__builtin__.", "builtins.")] = None
                elif opcode.name == "STACK_GLOBAL":
                    names[".".join(texts[-2:])] = None
                elif isinstance(argument, str):
                    texts.append(argument)
    except (ValueError, MemoryError, OverflowError):
        pass  # the bytes of the tensors follow, or the pickle is damaged: what was seen until here counts
    return list(names)


def _why_not(path: Path, error: Exception) -> str:
    """One line on a pickle that did not load: would it run code, is it of another protocol, or is it damaged?"""
    text = str(error)
    stopped_at = re.search(r"GLOBAL (\S+) ", text) if isinstance(error, pickle.UnpicklingError) else None
    names = _foreign(path, stopped_at.group(1)) if stopped_at else []
    if names:
        if any(name.startswith("torch.nn.modules.") for name in names):
            return f"a whole pickled model, not a state dict; {asks_for(names)}; {_SAVE_AGAIN}"
        return f"{asks_for(names)}; {_SAVE_AGAIN}"
    if "Unsupported operand 149" in text:  # FRAME opens every pickle of protocol 4 and later
        return "written with pickle protocol 4 or later, which has no safe loader; save it with torch.save's default"
    first = next(iter(text.splitlines()), "").strip()[:120]
    return f"damaged or cut short ({type(error).__name__}: {first}); download or save it again"


def _foreign(path: Path, stopped_at: str) -> list[str]:
    """The callables in a file of torch.save beyond torch's tensor machinery and the harmless ones, culprit first.

    None where the name at which torch stopped is not one of them: then it is the stump of a name, in a file cut short.
    """
    names = callables_in_file(path)
    culprit = next((name for name in names if name.split(".")[-1] == stopped_at.split(".")[-1]), None)
    if culprit is None:
        return []
    usual = (*_HARMLESS, "collections.OrderedDict", "collections.defaultdict", "builtins.set", "_codecs.encode")
    torchs = re.compile(r"torch\.(_utils\._rebuild\w+|\w+|_tensor\._rebuild\w+|nn\.parameter\.Parameter)$")
    return [culprit, *(name for name in names if name not in (culprit, *usual) and not torchs.match(name))]


def callables_in_file(path: Path) -> list[str]:
    """`callables_in` of a file of torch.save, archive or legacy."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return callables_in(file)
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.partition("/")[2] == "data.pkl")
        with archive.open(name) as file:
            return callables_in(file)
