"""TRL's GRPO on a tiny random policy, rewarded by our model: does the reward go up?"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed
from trl import GRPOConfig, GRPOTrainer

from tinyrm.serving.integrations import ReferenceReward
from tinyrm.serving.model import RewardModel

PROMPTS = ["What is the capital of France?", "Name a colour.", "How many legs has a spider?", "Say hello."]
REFERENCE = "I do not know."


def measure(model: RewardModel, steps: int) -> dict[str, Any]:
    """Mean reward (probability of beating a fixed answer) of the first and the last fifth of the steps."""
    set_seed(0)
    tokenizer: PreTrainedTokenizerFast = model.tokenizer
    tokenizer.eos_token = tokenizer.sep_token
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.sep_token_id, "bos_token_id": None}
    policy = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **sizes, **ids))
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder, report_to=[], use_cpu=True, bf16=False, save_strategy="no", disable_tqdm=True, seed=0,
            max_steps=steps, per_device_train_batch_size=32, num_generations=8, max_completion_length=8,
            learning_rate=3e-3, lr_scheduler_type="constant", beta=0.0, logging_steps=1,
        )  # fmt: skip
        data = Dataset.from_dict({"prompt": PROMPTS * 8, "reference": [REFERENCE] * 8 * len(PROMPTS)})
        trainer = GRPOTrainer(
            model=policy,
            reward_funcs=ReferenceReward(model),
            args=config,
            train_dataset=data,
            processing_class=tokenizer,
        )
        trainer.train()
    rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    fifth = max(len(rewards) // 5, 1)
    return {"steps": steps, "first": float(np.mean(rewards[:fifth])), "last": float(np.mean(rewards[-fifth:]))}
