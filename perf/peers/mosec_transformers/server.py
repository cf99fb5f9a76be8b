"""mosec with transformers: the checkpoint in torch behind its dynamic batching, workers as processes."""

import argparse
import os
from pathlib import Path

import torch
from mosec import Server, Worker
from safetensors.torch import load_file
from torch.nn.functional import layer_norm, linear
from transformers import AutoModel, AutoTokenizer

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", type=Path, help="the folder of a release's checkpoint")
parser.add_argument("--workers", type=int, default=1)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--wait-ms", type=int, default=2)
OPTIONS, _ = parser.parse_known_args()  # mosec reads its own, such as --port


class Classifier(Worker):
    def __init__(self) -> None:
        torch.set_num_threads(OPTIONS.threads)
        self.tokenizer = AutoTokenizer.from_pretrained(OPTIONS.model, model_max_length=256)
        self.encoder = AutoModel.from_pretrained(OPTIONS.model, add_pooling_layer=False).eval()
        self.head = load_file(OPTIONS.model / "head.safetensors")

    def forward(self, data):
        """A list with dynamic batching, and a single request without."""
        return self.classify(data) if isinstance(data, list) else self.classify([data])[0]

    @torch.inference_mode()
    def classify(self, requests):
        texts = [request["text"] for request in requests]
        tokens = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        hidden = self.encoder(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        logits = linear(layer_norm(mean, mean.shape[-1:]), self.head["weight"], self.head["bias"])
        scores, best = logits.softmax(1).max(1)
        labels = self.encoder.config.id2label
        return [
            {"label": labels[column], "score": score}
            for column, score in zip(best.tolist(), scores.tolist(), strict=True)
        ]


if __name__ == "__main__":
    os.environ.update(MOSEC_ADDRESS="127.0.0.1", MOSEC_TIMEOUT="60000")  # 3 s by default: 408 under load
    server = Server()
    server.append_worker(
        Classifier, num=OPTIONS.workers, max_batch_size=OPTIONS.batch, max_wait_time=OPTIONS.wait_ms
    )
    server.run()
