"""Tells why an answer is as it is: see perennial.serve.why."""

from perennial.serve import Why as TritonPythonModel

__all__ = ["TritonPythonModel"]
