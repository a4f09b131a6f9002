"""The message classes of Core ML's file format, loaded from coremltools without starting coremltools.

coremltools ships the classes that protoc generated from Apple's published `.proto` files. Importing them the usual way
first imports the whole of coremltools: seconds, log lines about the missing framework, and a warning for every new
torch. The classes themselves need only `google.protobuf`, so their folder is loaded here under a name of its own.
Python's protobuf keeps one pool of descriptors per process: a later `import coremltools` gets the same classes.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import MilError

PRIVATE_NAME = "_fuseport_coreml_proto"
NEWEST_SPECIFICATION = 10
"""Specification version of iOS 26 and macOS 26, the newest whose operators are known here."""


def model_message() -> Any:
    """An empty `Model` message (Model.proto), ready to parse a `.mlmodel` file into."""
    return _generated("Model_pb2").Model()


def feature_types() -> Any:
    """The module of FeatureTypes.proto: array element types and colour layouts."""
    return _generated("FeatureTypes_pb2")


def mil_messages() -> Any:
    """The module of MIL.proto: Program, Function, Block, Operation, Value."""
    return _generated("MIL_pb2")


@cache
def _generated(name: str) -> ModuleType:
    if "coremltools.proto" in sys.modules:
        return importlib.import_module(f"coremltools.proto.{name}")
    if PRIVATE_NAME not in sys.modules:
        _register_folder()
    return importlib.import_module(f"{PRIVATE_NAME}.{name}")


def _register_folder() -> None:
    """Make coremltools' `proto` folder importable as a package named PRIVATE_NAME."""
    found = importlib.util.find_spec("coremltools")
    if found is None or not found.submodule_search_locations:
        raise MilError(
            "reading Core ML files needs coremltools, which is not installed: pip install 'fuseport[coreml]'"
        )
    folder = Path(found.submodule_search_locations[0]) / "proto"
    spec = importlib.util.spec_from_file_location(
        PRIVATE_NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise MilError(f"expected coremltools' message classes in {folder}; reinstall coremltools")
    module = importlib.util.module_from_spec(spec)
    sys.modules[PRIVATE_NAME] = module
    spec.loader.exec_module(module)
