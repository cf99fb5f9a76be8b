"""infinity: a stock classifier in torch behind its own batching, which sorts by length."""

import argparse

import torch
import uvicorn
from infinity_emb import create_server
from infinity_emb.args import EngineArgs

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", help="the folder of a model for AutoModelForSequenceClassification")
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=32)
OPTIONS, _ = parser.parse_known_args()  # it has one worker, and its batching never waits

if __name__ == "__main__":
    torch.set_num_threads(OPTIONS.threads)
    engine = EngineArgs(
        model_name_or_path=OPTIONS.model,
        served_model_name="model",
        engine="torch",
        device="cpu",
        batch_size=OPTIONS.batch,
        bettertransformer=False,
    )
    uvicorn.run(create_server(engine_args_list=[engine]), host="127.0.0.1", port=OPTIONS.port)
