"""Says a word TIMES times (twice unless told), TOY of its environment, and the request's parameters."""

import os

import triton_python_backend_utils as pb_utils

from perennial.types import text_tensor


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("COUNTED", said(request))]) for request in requests
        ]


def said(request):
    words = pb_utils.get_input_tensor_by_name(request, "WORD").as_numpy()[:, 0]
    times = pb_utils.get_input_tensor_by_name(request, "TIMES")
    count = 2 if times is None else int(times.as_numpy()[0, 0])
    rest = f"{os.environ.get('TOY', '')} {request.parameters()}"
    return text_tensor([" ".join([*[word.decode()] * count, rest]) for word in words])
