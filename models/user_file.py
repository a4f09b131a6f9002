"""A user's own model out of a Python file: `path/to/net.py:NAME`, NAME a module, its class, or what makes it.

The file may sit in a checkout with folders called `models/` or `export/` and a `utils.py`: our own packages all live
under `fuseport.` and are imported relatively, so nothing of the user's can take their place. While the file is imported
and the model made, the folder that holds it (for a file inside a package: the folder that holds the package) comes
first in `sys.path`, and modules of the same names from elsewhere stand aside; afterwards all is as it was. Relative
imports of neighbours work with and without an `__init__.py`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import sysconfig
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ..reparam.culprit import culprit, reason_of


class UserModelError(ValueError):
    """A file or a name in it that gives no model; the message is one line that names the place."""


def split(location: str) -> tuple[Path, str]:
    """`FILE.py:NAME` as its two parts; NAME is "" where none is given. Raises UserModelError."""
    file, colon, name = location.rpartition(":")
    if not colon or name.endswith(".py"):
        file, name = location, ""
    if not file.endswith(".py"):
        raise UserModelError(f"cannot read {location!r} as a model; expected FILE.py:NAME, as in net.py:build")
    return Path(file).expanduser(), name


def build(location: str, model_args: Mapping[str, Any]) -> tuple[nn.Module, str]:
    """The module in evaluation mode, and the name that made it; `model_args` are given to the class or function.

    Runs the user's code. Raises UserModelError for a file that cannot be imported, a name that is not in it, and for
    what gives no nn.Module.
    """
    path, name = split(location)
    if not path.is_file():
        raise UserModelError(f"{path}: there is no such file; expected FILE.py:NAME")
    with _at_home(path.resolve()) as qualified:
        try:
            module = _import(qualified, path.resolve())
        except (Exception, SystemExit) as error:
            raise UserModelError(f"{path} cannot be imported: {_told(error)}") from error
        name = name or _only_class(module, path)
        made = _find(module, name, path)
        if not isinstance(made, nn.Module):
            made = _made(made, name, path, model_args)
        elif model_args:
            raise UserModelError(f"{path}: {name} is a model already, so it takes no --model-arg")
    return made.eval(), name.rpartition(".")[2]


def _find(module: ModuleType, name: str, path: Path) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            here = [key for key, value in vars(module).items() if callable(value) and _is_own(value, module)]
            raise UserModelError(f"{path} has no {name!r}; it has {', '.join(here) or 'no class and no function'}")
        found = getattr(found, part)
    if not callable(found):
        raise UserModelError(f"{path}: {name} is {type(found).__name__}; expected a module, a class or a function")
    return found


def _made(factory: Any, name: str, path: Path, model_args: Mapping[str, Any]) -> nn.Module:
    _require_arguments(factory, name, path, model_args)
    told = ", ".join(f"{key}={value!r}" for key, value in model_args.items())
    try:
        made = factory(**model_args)
    except (Exception, SystemExit) as error:
        raise UserModelError(f"{path}: {name}({told}) failed: {_told(error)}") from error
    if not isinstance(made, nn.Module):
        raise UserModelError(f"{path}: {name}({told}) gives {type(made).__name__}; expected an nn.Module")
    return made


def _require_arguments(factory: Any, name: str, path: Path, model_args: Mapping[str, Any]) -> None:
    """Raise UserModelError for an argument that the factory does not have, and for one that it needs."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return
    known = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    needed = [one.name for one in parameters if one.name in known and one.default is one.empty]
    takes = f"it takes {', '.join(known) or 'none'}"
    if not any(one.kind == one.VAR_KEYWORD for one in parameters):
        for unknown in [key for key in model_args if key not in known]:
            raise UserModelError(f"{path}: {name} has no argument {unknown!r}; {takes}")
    if missing := [key for key in needed if key not in model_args]:
        given = " ".join(f"--model-arg {key}=…" for key in missing)
        raise UserModelError(f"{path}: {name} needs {', '.join(missing)}; give {given}")


def _only_class(module: ModuleType, path: Path) -> str:
    """The one class of a module that the file defines; where there are more, one has to be named."""
    kinds = [
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, nn.Module) and _is_own(value, module)
    ]
    if len(kinds) != 1:
        raise UserModelError(f"{path} defines {', '.join(kinds) or 'no module'}; name the model: {path}:NAME")
    return kinds[0]


def _is_own(value: Any, module: ModuleType) -> bool:
    return getattr(value, "__module__", None) == module.__name__


def _told(error: BaseException) -> str:
    """What happened, and the line of the user's own files that it happened in."""
    where = culprit(error, behind=__file__)
    kind = "" if isinstance(error, SystemExit) else f"{type(error).__name__}: "
    return kind + reason_of(error) + (f" (at {where})" if where else "")


# ---- importing -----------------------------------------------------------------------------------------------------


@contextmanager
def _at_home(path: Path) -> Iterator[str]:
    """The name under which to import the file, while its folder, and that of its package, come first on `sys.path`."""
    folder, package, root = path.parent, "", path.parent
    while (root / "__init__.py").is_file():
        package, root = f"{root.name}.{package}", root.parent
    aside = _foreign({file.stem for place in {folder, root} for file in place.iterdir()}, root)
    for name in aside:
        del sys.modules[name]
    before = set(sys.modules)
    folders = list(dict.fromkeys((str(folder), str(root))))
    sys.path[:0] = folders
    try:
        yield package + path.stem if package else f"{_stand_in(folder)}.{path.stem}"
    finally:
        for place in folders:
            sys.path.remove(place)
        tops = {name.partition(".")[0] for name in aside}
        for name in [name for name in sys.modules if name not in before and name.partition(".")[0] in tops]:
            del sys.modules[name]
        sys.modules.update(aside)


def _stand_in(folder: Path) -> str:
    """A package for a folder without `__init__.py`, so that its files can import each other relatively."""
    name = f"user_{zlib.crc32(str(folder).encode()):08x}"
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    return name


def _import(name: str, path: Path) -> ModuleType:
    importlib.import_module(name.rpartition(".")[0])
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _foreign(names: set[str], root: Path) -> dict[str, ModuleType]:
    """Loaded modules of these top-level names that come neither from below `root` nor from an installation."""
    installed = [Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "purelib", "platlib")]
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] in names - sys.stdlib_module_names and file:
            place = Path(file).resolve()
            if not any(place.is_relative_to(folder) for folder in (root, *installed)):
                found[name] = module
    return found
