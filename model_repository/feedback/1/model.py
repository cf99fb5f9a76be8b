"""Takes feedback: see perennial.serve.feedback."""

from perennial.serve import Feedback as TritonPythonModel

__all__ = ["TritonPythonModel"]
