"""mosec with openvino: an exported graph behind its dynamic batching, workers as processes."""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import openvino
from mosec import Server, Worker
from tokenizers import Tokenizer

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", type=Path, help="a folder with model.onnx, tokenizer.json and labels.json")
parser.add_argument("--workers", type=int, default=1)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--wait-ms", type=int, default=2)
OPTIONS, _ = parser.parse_known_args()  # mosec reads its own, such as --port

UNPINNED = {"ENABLE_CPU_PINNING": False}  # else every worker's threads are pinned to the same first cores
LENGTHS = 8  # openvino compiles a shape at its first use: lengths in steps keep the shapes few


class Classifier(Worker):
    def __init__(self) -> None:
        known = json.loads((OPTIONS.model / "labels.json").read_text())
        self.labels = known["labels"]
        self.tokenizer = Tokenizer.from_file(str(OPTIONS.model / "tokenizer.json"))
        self.tokenizer.enable_truncation(known["max_tokens"])
        self.tokenizer.enable_padding(pad_id=known["pad_id"], pad_to_multiple_of=LENGTHS)
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": OPTIONS.threads}
        self.model = openvino.compile_model(OPTIONS.model / "model.onnx", "CPU", {**hints, **UNPINNED})

    def forward(self, data):
        """A list with dynamic batching, and a single request without."""
        return self.classify(data) if isinstance(data, list) else self.classify([data])[0]

    def classify(self, requests):
        encodings = self.tokenizer.encode_batch([request["text"] for request in requests])
        ids = np.array([encoding.ids for encoding in encodings])
        mask = np.array([encoding.attention_mask for encoding in encodings])
        logits = self.model({"input_ids": ids, "attention_mask": mask})["logits"]
        scores = np.exp(logits - logits.max(1, keepdims=True))
        scores /= scores.sum(1, keepdims=True)
        return [
            {"label": self.labels[best], "score": float(row[best])}
            for best, row in zip(logits.argmax(1), scores, strict=True)
        ]


if __name__ == "__main__":
    os.environ.update(MOSEC_ADDRESS="127.0.0.1", MOSEC_TIMEOUT="60000")  # 3 s by default: 408 under load
    server = Server()
    server.append_worker(
        Classifier, num=OPTIONS.workers, max_batch_size=OPTIONS.batch, max_wait_time=OPTIONS.wait_ms
    )
    server.run()
