"""llama.cpp, by its Python binding: what it writes, one text after the other, greedily.

    python writes.py MODEL INPUT OUTPUT THREADS

MODEL is a GGUF file; INPUT is a JSON file of [message, most tokens] pairs; OUTPUT gets {tokens, seconds}. The
first pair is asked once before, to warm up.
"""

import json
import sys
import time
from pathlib import Path

from llama_cpp import Llama

ROOM = 2048


def main(model: str, source: str, target: str, threads: str) -> None:
    llama = Llama(model, n_ctx=ROOM, n_threads=int(threads), verbose=False)
    asked = json.loads(Path(source).read_text())
    write(llama, *asked[0])
    began = time.perf_counter()
    tokens = sum(write(llama, *one) for one in asked)
    Path(target).write_text(json.dumps({"tokens": tokens, "seconds": time.perf_counter() - began}))


def write(llama: Llama, message: str, most: int) -> int:
    messages = [{"role": "user", "content": message}]
    told = llama.create_chat_completion(messages, max_tokens=most, temperature=0.0, repeat_penalty=1.0)
    return told["usage"]["completion_tokens"]


if __name__ == "__main__":
    main(*sys.argv[1:])
