"""The second engine: the stored program as an ONNX graph, for speed, and as a converter from Core ML to ONNX."""

from .graph import CannotLower
from .lower import Lowered, lower

__all__ = ["CannotLower", "Lowered", "lower"]
