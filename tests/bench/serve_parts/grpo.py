"""TRL's GRPO on a tiny random policy, rewarded by our model: does the reward go up?

It is the reward that goes up, not the quality: a random policy of a few dozen words writes no sentences, and finds
what the model mistakes for a better answer ("best" shows it).
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed
from trl import GRPOConfig, GRPOTrainer

from tinyrm.serving.integrations import ReferenceReward
from tinyrm.serving.model import RewardModel

PROMPTS = ["What is the capital of France?", "Name a colour.", "How many legs has a spider?", "Say hello."]
REFERENCE = "I do not know."
ANSWERS = "The capital of France is Paris. Blue, green. A spider has eight legs. Hello!"
GROUP, A_STEP = 8, 32  # completions of a prompt, and of a step


class Recorded(ReferenceReward):
    """Keeps what it was asked and what it said."""

    def __init__(self, model: RewardModel) -> None:
        super().__init__(model)
        self.steps: list[tuple[list[Any], list[float]]] = []

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        rewards = super().__call__(prompts, completions, **columns)
        self.steps.append((list(completions), rewards))
        return rewards


def measure(model: RewardModel, steps: int, seed: int = 0) -> dict[str, Any]:
    """Mean reward (probability of beating a fixed answer) of the first and the last tenth of the steps.

    Returns:
        `first` and `last` with their 95% intervals over completions, the mean of each tenth of the run, how many steps
        taught nothing (all rewards of every group equal), and a last step's best completion.
    """
    set_seed(seed)
    tokenizer = _words()
    policy = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=64, pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        )
    )  # fmt: skip
    reward, began = Recorded(model), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder, report_to=[], use_cpu=True, bf16=False, save_strategy="no", disable_tqdm=True, seed=seed,
            max_steps=steps, per_device_train_batch_size=A_STEP, num_generations=GROUP, max_completion_length=8,
            learning_rate=3e-3, lr_scheduler_type="constant", beta=0.0, logging_steps=1,
        )  # fmt: skip
        data = Dataset.from_dict({"prompt": PROMPTS * 8, "reference": [REFERENCE] * 8 * len(PROMPTS)})
        trainer = GRPOTrainer(
            model=policy, reward_funcs=reward, args=config, train_dataset=data, processing_class=tokenizer
        )
        trainer.train()
    rewards = np.asarray([found for _, found in reward.steps])  # (steps, completions)
    tenth = max(steps // 10, 1)
    written, found = reward.steps[-1]
    flat = sum(entry["reward_std"] == 0 for entry in trainer.state.log_history if "reward_std" in entry)
    return {
        "steps": steps,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "first": _mean(rewards[:tenth]),
        "last": _mean(rewards[-tenth:]),
        "tenths": [round(float(part.mean()), 3) for part in np.array_split(rewards, min(10, steps))],
        "steps_without_signal": flat,
        "best": written[int(np.argmax(found))],
    }


def _words() -> PreTrainedTokenizerFast:
    """A vocabulary of the words of the prompts and of a few answers."""
    found = re.findall(r"\w+|[^\w\s]", " ".join([*PROMPTS, REFERENCE, ANSWERS]))
    known = {word: number for number, word in enumerate(dict.fromkeys(["<pad>", "<eos>", "<unk>", *found]))}
    words = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def _mean(rewards: Any) -> dict[str, float]:
    """Mean and 95% interval by the standard error, of completions taken for independent."""
    half = 1.96 * float(rewards.std(ddof=1)) / rewards.size**0.5
    mean = float(rewards.mean())
    return {"value": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4), "n": rewards.size}
