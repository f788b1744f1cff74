"""The command `rewardbench` itself over a Bradley-Terry TinyRM, compared pair by pair with `tinyrm eval`.

It pins its own transformers, so that it needs an environment of its own:

    python -m venv .venv-bench && .venv-bench/bin/pip install rewardbench==0.1.4 'setuptools<80' pyarrow
    tinyrm eval RUN --path pairs.jsonl --out ours
    .venv-bench/bin/python tests/bench/rewardbench_own.py RUN pairs.jsonl ours/predictions.parquet

Pairs with more than one turn before the responses are left out: its command knows a model's form by a chat template,
and the one given here is that of one turn. Rows go one by one: it pads on the left, where BERT has its first positions.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from rewardbench.rewardbench import Args, rewardbench
from transformers import BatchEncoding

TEMPLATE = "{{ messages[0]['content'] }}[SEP]{{ messages[-1]['content'] }}"  # of prompt.single's default


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder with a merged Bradley-Terry model")
    parser.add_argument("pairs", type=Path, help="JSONL with id, prompt, chosen, rejected")
    parser.add_argument("predictions", type=Path, help="of `tinyrm eval` on the same pairs")
    options = parser.parse_args()
    form = json.loads((options.run / "model" / "merged" / "tinyrm.json").read_text(encoding="utf-8"))
    if form["objective"] != "bradley_terry" or form["prompt"]["single"] != "{prompt}{sep}{response}":
        parser.error("this is no Bradley-Terry model of the default form.")
    if not torch.cuda.is_available():
        BatchEncoding.to = lambda self, device: self  # its pipeline sends every batch to "cuda"
    rows = [json.loads(line) for line in options.pairs.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if isinstance(row["prompt"], str)]
    with tempfile.TemporaryDirectory() as scratch:
        theirs = _theirs(Path(scratch), options.run, rows, form["prompt"]["max_tokens"])
    table = pq.read_table(options.predictions).to_pydict()
    known = dict(zip(table["id"], zip(table["log_odds"], table["truncated"], strict=True), strict=True))
    whole = [(row, *known[row["id"]]) for row in rows]
    apart = [
        abs(odds - found["scores_chosen"] + found["scores_rejected"])
        for (_, odds, cut), found in zip(whole, theirs, strict=True)
        if not cut  # it cuts elsewhere
    ]
    print(
        json.dumps(
            {
                "pairs": len(rows),
                "rewardbench": sum(found["results"] for found in theirs) / len(theirs),
                "tinyrm": sum(odds > 0 for _, odds, _ in whole) / len(whole),
                "compared": len(apart),
                "largest difference of a log-odds": max(apart),
            }
        )
    )


def _theirs(scratch: Path, run: Path, rows: list[dict[str, Any]], max_tokens: int) -> list[dict[str, Any]]:
    """What it writes of each pair."""
    model, data = scratch / "model", scratch / "pairs.jsonl"
    shutil.copytree(run / "model" / "merged", model)
    config = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    (model / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": TEMPLATE}), encoding="utf-8")
    with data.open("w", encoding="utf-8") as file:
        for row in rows:
            turn = {"role": "user", "content": row["prompt"]}
            both = {kind: [turn, {"role": "assistant", "content": row[kind]}] for kind in ("chosen", "rejected")}
            file.write(json.dumps(both) + "\n")
    rewardbench(
        Args(
            model=str(model), dataset=str(data), load_json=True, batch_size=1, max_length=max_tokens,
            torch_dtype="float32", not_quantized=True, force_truncation=True, output_dir=f"{scratch}/out",
        )
    )  # fmt: skip
    (written,) = scratch.glob("**/*_outputs.jsonl")
    return [json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
