"""LitServe with transformers: the checkpoint in torch behind its dynamic batching, workers as processes."""

import argparse
from pathlib import Path

import litserve
import torch
from safetensors.torch import load_file
from torch.nn.functional import layer_norm, linear
from transformers import AutoModel, AutoTokenizer

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", type=Path, help="the folder of a release's checkpoint")
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--workers", type=int, default=1)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--wait-ms", type=int, default=2)
OPTIONS = parser.parse_args()


class Classifier(litserve.LitAPI):
    def setup(self, device):  # noqa: ARG002 (its interface)
        torch.set_num_threads(OPTIONS.threads)
        self.tokenizer = AutoTokenizer.from_pretrained(OPTIONS.model, model_max_length=256)
        self.encoder = AutoModel.from_pretrained(OPTIONS.model, add_pooling_layer=False).eval()
        self.head = load_file(OPTIONS.model / "head.safetensors")

    def decode_request(self, request):
        return request["text"]

    def predict(self, texts):
        """A list with dynamic batching, and a single text without."""
        return self.classify(texts) if isinstance(texts, list) else self.classify([texts])[0]

    @torch.inference_mode()
    def classify(self, texts):
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
    api = Classifier(max_batch_size=OPTIONS.batch, batch_timeout=OPTIONS.wait_ms / 1000)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=OPTIONS.workers)
    server.run(host="127.0.0.1", port=OPTIONS.port, generate_client_file=False)
