"""Takes documents: see perennial.serve.index."""

from perennial.serve import Index as TritonPythonModel

__all__ = ["TritonPythonModel"]
