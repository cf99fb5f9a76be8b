"""What tritonserver is told on its command line: what it loads, where it listens, and what it keeps closed.

Open to whoever reaches the ports: health, metadata, inference, and the read-only model-config and
statistics, which clients and load generators ask for. Closed without the admin secret: `model-repository`,
whose load runs code that the caller sends; `shared-memory`, which reads and writes memory; `trace` and
`logging`, which write files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perennial.server.ports import Ports

CLOSED = "model-repository,shared-memory,trace,logging"
SECRET_HEADER = "perennial-admin"
"""HTTP sends the secret under this name; gRPC under the name with Triton's prefix, GRPC_SECRET_HEADER."""
GRPC_SECRET_HEADER = f"triton-grpc-protocol-{SECRET_HEADER}"

EXIT_S = 5
"""A server in which a stub was killed never unloads it, and would wait for it to the end."""
STUB_START_S = 60
"""A stub imports its libraries before it reports; a training run on the same cores makes that slow."""
QUANTILES = "0.5:0.05,0.95:0.005,0.99:0.001"


def arguments(repository: Path, models: Sequence[str], host: str, ports: Ports, secret: str) -> list[str]:
    """Explicit model control over complete configs; a model that fails to load fails the start."""
    return [
        f"--model-repository={repository}",
        "--model-control-mode=explicit",
        "--disable-auto-complete-config",
        *(f"--load-model={model}" for model in models),
        "--strict-readiness=true",
        f"--exit-timeout-secs={EXIT_S}",
        "--log-format=ISO8601",
        f"--http-address={host}",
        f"--http-port={ports.http}",
        f"--http-restricted-api={CLOSED}:{SECRET_HEADER}={secret}",
        f"--grpc-address={host}",
        f"--grpc-port={ports.grpc}",
        f"--grpc-restricted-protocol={CLOSED}:{SECRET_HEADER}={secret}",
        f"--metrics-address={host}",
        f"--metrics-port={ports.metrics}",
        "--allow-gpu-metrics=false",
        "--metrics-config=summary_latencies=true",
        f"--metrics-config=summary_quantiles={QUANTILES}",
    ]


def cache_arguments(cache_mb: int) -> list[str]:
    """The response cache, of which the engine stages make use where there is one."""
    return [f"--cache-config=local,size={cache_mb << 20}"] if cache_mb else []


def folder_arguments(backends: Path, caches: Path, regions: str) -> list[str]:
    """Where the Python backend and the response cache are, and the prefix of shared-memory regions."""
    return [
        f"--cache-directory={caches}",
        f"--backend-directory={backends}",
        f"--backend-config=python,shm-region-prefix-name={regions}",
        f"--backend-config=python,stub-timeout-seconds={STUB_START_S}",
    ]
