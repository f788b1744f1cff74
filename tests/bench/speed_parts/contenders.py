"""What is timed, each in a process of its own: ours, and what people would otherwise write."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from speed_apps.plain import IGNORED, one_pass

from tinyrm.experiment import run
from tinyrm.model import load_weights

from .growth import growth
from .scoring import BACKENDS, EXACT, SCORED_MODEL, STORED, ours_scoring, pipeline_scoring, train_scored
from .setup import Figures, Size, start
from .steps import step_times


def ours_training(size: Size, data: str | None, cache: str, *overrides: str) -> Figures:
    """`python run.py`, all epochs counted whole: filling the store, evaluations of dev, checkpoints."""
    begun = start(size, data, f"trainer.epochs={size.epochs}", f"data.cache_dir={cache}", *overrides)
    with tempfile.TemporaryDirectory() as folder:
        record = run(begun.config, Path(folder) / "run").record
    pairs = size.train * size.epochs
    return {
        "pairs_per_second": pairs / record["seconds"]["train"],
        "steps_only": record["throughput"]["pairs_per_second"],
        "padding": record["padding"],
        "dev_loss": record["dev"]["loss"],
    }


def plain_training(size: Size, data: str | None, cache: str) -> Figures:
    """A plain loop: `transformers` and PEFT, random batches padded to their longest, the whole masked-LM loss."""
    begun = start(size, data, f"data.max_train_pairs={size.plain}", f"data.cache_dir={cache}")
    config, backbone, train = begun.config, begun.base.backbone, begun.train
    model = load_weights(backbone, "cloze", seed=0)
    layers = backbone.family.layers_of(model)
    names = [
        f"{backbone.family.encoder}.{backbone.family.layers}.{number}.{name}"
        for number, layer in enumerate(layers)
        if number >= size.freeze
        for name, module in layer.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    lora = LoraConfig(r=16, lora_alpha=32, use_dora=True, target_modules=names)
    peft = get_peft_model(model, lora).train()
    optimizer = torch.optim.AdamW([p for p in peft.parameters() if p.requires_grad], lr=config.optimizer.lr)
    words = [backbone.tokenizer.convert_tokens_to_ids(word) for word in ("a", "b")]
    rng = np.random.default_rng(0)
    began, real, padded, loss = time.perf_counter(), 0, 0, torch.tensor(0.0)
    for batch in np.split(rng.permutation(len(train)), range(8, len(train), 8)):
        first = rng.random(len(batch)) < 0.5
        rows = one_pass(train.collate(batch.tolist(), first.tolist()))
        position = rows.pop("mask_position")
        labels = torch.full_like(rows["input_ids"], IGNORED)
        labels[torch.arange(len(batch)), position] = torch.tensor([words[0] if f else words[1] for f in first])
        loss = peft(**rows, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        real, padded = real + int(rows["attention_mask"].sum()), padded + rows["input_ids"].numel()
    seconds = time.perf_counter() - began
    return {"pairs_per_second": len(train) / seconds, "padding": 1 - real / padded, "loss": float(loss)}


def ours_reward(size: Size, data: str | None, cache: str) -> Figures:
    """Full finetuning of a Bradley-Terry model."""
    settings = ("objective=bradley_terry", "adapter=full", "freeze=0", "optimizer.lr=5e-5")
    return ours_training(size, data, cache, *settings)


def trl_reward(size: Size, data: str | None, cache: str) -> Figures:
    """TRL's RewardTrainer on the same tokens."""
    import datasets
    from trl import RewardConfig, RewardTrainer

    begun = start(size, data, "objective=bradley_terry", f"data.max_train_pairs={size.plain}")
    backbone, train = begun.base.backbone, begun.train
    model = load_weights(backbone, "bradley_terry", seed=0)
    sides: dict[str, list[list[int]]] = {"chosen_ids": [], "rejected_ids": []}
    for pair in range(len(train)):
        both = one_pass(train.collate([pair], [True]))
        for name, ids, mask in zip(sides, both["input_ids"], both["attention_mask"], strict=True):
            sides[name].append(ids[: int(mask.sum())].tolist())
    with tempfile.TemporaryDirectory() as folder:
        arguments = RewardConfig(
            output_dir=folder,
            per_device_train_batch_size=8,
            num_train_epochs=1,
            learning_rate=5e-5,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            logging_steps=1000,
            max_length=None,
        )
        trainer = RewardTrainer(
            model=model,
            args=arguments,
            train_dataset=datasets.Dataset.from_dict(sides),
            processing_class=backbone.tokenizer,
        )
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
    return {"pairs_per_second": len(train) / seconds}


CONTENDERS: dict[str, Callable[..., Figures]] = {
    "plain loop": plain_training,
    "ours": ours_training,
    "ours, stored": ours_training,
    "ours, no store": lambda size, data, cache: ours_training(size, data, cache, "speed.prefix=off"),
    "ours, speed=plain": lambda size, data, cache: ours_training(size, data, cache, "speed=plain"),
    "reward: TRL": trl_reward,
    "reward: ours": ours_reward,
    SCORED_MODEL: train_scored,
    "score: pipeline": pipeline_scoring,
    EXACT: ours_scoring,
    **{name: partial(ours_scoring, backend=backend) for name, backend in BACKENDS.items()},
    STORED: partial(ours_scoring, store=True),
    "steps": lambda size, data, cache: step_times(size, data),
    "growth": lambda size, data, cache: growth(size, data),
}
