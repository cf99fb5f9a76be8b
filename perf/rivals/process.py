"""The process of a rival: told what to learn and asked for answers over its standard streams.

`python process.py LEARNER.PY`, in the environment of a library that learns from streams. Pickled pairs of a
verb and its arguments come in, what it gives goes out, until the input ends. Nothing of ours is imported.
"""

import os
import pickle
import sys
import time
from runpy import run_path


def main(path: str) -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is none of the answers
    kind, learner = run_path(path)["Learner"], None
    while True:
        try:
            verb, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        if verb == "begin":
            learner, given = kind(*arguments), None
        elif verb == "clock":
            given = time.process_time()
        else:
            given = getattr(learner, verb)(*arguments)
        pickle.dump(given, answers)
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
