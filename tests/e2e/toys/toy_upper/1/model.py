"""Upper-cases a word. `refuse me` is a bad request, `wait` takes three seconds."""

import time

import triton_python_backend_utils as pb_utils

from perennial.types import text_tensor


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "WORD")) for request in requests]

    def answer(self, words):
        texts = [word.decode() for word in words.as_numpy()[:, 0]]
        if "refuse me" in texts:
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError("no such word", pb_utils.TritonError.INVALID_ARG)
            )
        if "wait" in texts:
            time.sleep(3)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("LOUD", text_tensor([text.upper() for text in texts]))]
        )
