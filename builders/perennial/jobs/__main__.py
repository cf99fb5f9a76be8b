"""The processes beside the server: the worker, the child that it starts for each job, and the front.

The order comes as JSON on standard input: `settings`, for a job its id and the worker's lease, and for the
front the number of the socket that it answers on.
"""

from __future__ import annotations

import json
import logging
import signal
import socket
import sys

from perennial.config import Settings
from perennial.errors import Fenced, PerennialError
from perennial.jobs.front import answer
from perennial.jobs.worker import Worker
from perennial.jobs.workshop import Workshop, open_workshop
from perennial.types import Lease


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    order = json.load(sys.stdin)
    shop = open_workshop(Settings.model_validate(order["settings"]))
    try:
        if "job" in order:
            _run_job(shop, order["job"], Lease(**order["lease"]))
        elif "front" in order:
            answer(shop, socket.socket(fileno=order["front"]))
        else:
            _work(shop)
    except Fenced as error:
        logging.warning("%s", error)
        return 3
    except PerennialError as error:
        logging.error("%s", error)
        return 1
    return 0


def _run_job(shop: Workshop, job_id: str, lease: Lease) -> None:
    from perennial.jobs.compress import compress  # torch comes with both, and the worker has no use for it
    from perennial.jobs.rebuild import rebuild

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the worker, which ends this process
    job = shop.store.job(job_id)
    carry_out = compress if job.kind == "compress" else rebuild
    carry_out(shop, job, lease)


def _work(shop: Workshop) -> None:
    worker = Worker(shop)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: worker.stop())
    worker.work()


if __name__ == "__main__":
    sys.exit(main())
