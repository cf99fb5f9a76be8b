"""MLServer with its Hugging Face runtime: a stock classifier in torch behind its adaptive batching."""

import argparse
import asyncio
import socket

from mlserver import MLServer, ModelSettings, Settings
from mlserver.settings import ModelParameters
from mlserver_huggingface import HuggingFaceRuntime

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", help="the folder of a model for AutoModelForSequenceClassification")
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--workers", type=int, default=1)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--wait-ms", type=int, default=2)
OPTIONS = parser.parse_args()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def main() -> None:
    server = MLServer(
        Settings(
            host="127.0.0.1",
            http_port=OPTIONS.port,
            grpc_port=free_port(),
            metrics_endpoint=None,
            parallel_workers=OPTIONS.workers if OPTIONS.workers > 1 else 0,
        )
    )
    model = ModelSettings(
        name="model",
        implementation=HuggingFaceRuntime,
        max_batch_size=OPTIONS.batch,
        max_batch_time=OPTIONS.wait_ms / 1000,
        parameters=ModelParameters(
            extra={
                "task": "text-classification",
                "pretrained_model": OPTIONS.model,
                "framework": "pt",
                "intra_op_threads": OPTIONS.threads,
            }
        ),
    )
    await server.start([model])


if __name__ == "__main__":
    asyncio.run(main())
