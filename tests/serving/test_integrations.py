"""The model where others expect a function; TRL's own trainers call it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, set_seed
from trl import GRPOConfig, GRPOTrainer

from tinyrm.errors import DataError
from tinyrm.serving.integrations import GroupReward, Judge, ReferenceReward, best_of_n, win_rates
from tinyrm.serving.model import RewardModel

PROMPTS = ["What is 2+2?", "Name a colour.", "Say hello.", "Is water wet?"]


@pytest.fixture(scope="module")
def model(cloze_run: Path) -> RewardModel:
    return RewardModel.from_pretrained(cloze_run, truncation="ignore")


def policy(tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    set_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.sep_token_id, "bos_token_id": None}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **sizes, **ids))


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    plain = {"output_dir": str(folder), "report_to": [], "use_cpu": True, "save_strategy": "no", "disable_tqdm": True}
    return {**plain, "bf16": False, "logging_steps": 1, "max_completion_length": 8, "seed": 0, **more}


def test_each_completion_is_rewarded_within_its_prompt(model: RewardModel) -> None:
    reward = GroupReward(model)
    prompts, completions = ["p", "q", "p", "q", "p"], ["one", "two", "three", "four", "five"]
    found = reward(prompts=prompts, completions=completions, completion_ids=[], trainer_state=None)
    first, second = model.reward("p", ["one", "three", "five"]), model.reward("q", ["two", "four"])
    assert found == pytest.approx([first[0], second[0], first[1], second[1], first[2]])
    chats = [[{"role": "user", "content": p}] for p in prompts]
    assert reward(chats, [[{"role": "assistant", "content": c}] for c in completions]) == pytest.approx(found)
    assert reward.__name__ == "tinyrm"


def test_rates_of_winning_come_from_strengths(model: RewardModel) -> None:
    assert win_rates([0.0, 0.0, 0.0]) == [0.5, 0.5, 0.5]
    assert win_rates([1.0986122886681098, 0.0]) == pytest.approx([0.75, 0.25])
    assert win_rates([3.0]) == [0.5]
    rates = GroupReward(model, scale="probability")(["p"] * 3, ["x", "y", "z"])
    assert sum(rates) == pytest.approx(1.5) and all(0 < rate < 1 for rate in rates)
    with pytest.raises(ValueError, match="'log_odds' or 'probability'"):
        GroupReward(model, scale="odds")


def test_a_reference_gives_a_scale(model: RewardModel) -> None:
    found = ReferenceReward(model)(["p", "q"], ["x", "y"], reference=["u", "y"], completion_ids=[])
    assert found == pytest.approx([model.compare("p", "x", "u").probability, 0.5], abs=1e-5)
    with pytest.raises(DataError, match=r"no column 'reference'\. Did you mean 'references'"):
        ReferenceReward(model)(["p"], ["x"], references=["u"])


def test_trl_s_grpo_trains_on_it(model: RewardModel, tmp_path: Path) -> None:
    tokenizer = model.tokenizer
    tokenizer.eos_token = tokenizer.sep_token  # of a masked language model, which the tiny policy borrows
    config = GRPOConfig(
        **settings(
            tmp_path, max_steps=2, per_device_train_batch_size=8, num_generations=4, learning_rate=1e-3, beta=0.0
        )
    )
    trainer = GRPOTrainer(
        model=policy(tokenizer),
        reward_funcs=GroupReward(model, scale="probability"),
        args=config,
        train_dataset=Dataset.from_dict({"prompt": PROMPTS}),
        processing_class=tokenizer,
    )
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert len(log) == 2
    assert all(entry["rewards/tinyrm/mean"] == pytest.approx(0.5, abs=1e-5) for entry in log)  # of a group's own
    assert any(entry["reward_std"] > 0 for entry in log)
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))


def test_trl_s_online_dpo_trains_on_it(model: RewardModel, tmp_path: Path) -> None:
    from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

    tokenizer = model.tokenizer
    tokenizer.eos_token = tokenizer.sep_token
    asked: list[tuple[list[Any], list[Any]]] = []

    class Watched(GroupReward):
        def __call__(self, prompts: Any, completions: Any, **more: Any) -> list[float]:
            asked.append((list(prompts), list(completions)))
            return super().__call__(prompts, completions, **more)

    plain = settings(tmp_path, max_steps=1, per_device_train_batch_size=2)
    plain["max_new_tokens"] = plain.pop("max_completion_length")
    trainer = OnlineDPOTrainer(
        model=policy(tokenizer),
        reward_funcs=Watched(model),
        args=OnlineDPOConfig(**plain),
        train_dataset=Dataset.from_dict({"prompt": PROMPTS}),
        processing_class=tokenizer,
    )
    trainer.train()
    (prompts, completions), *_ = asked
    assert len(prompts) == len(completions) == 4 and prompts[:2] == prompts[2:]  # two completions of each
    assert any("loss" in entry or "train_loss" in entry for entry in trainer.state.log_history)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: text,
        lambda text: {"text": text},
        lambda text: {"message": {"role": "assistant", "content": text}},
        lambda text: SimpleNamespace(text=text, token_ids=[]),
        lambda text: SimpleNamespace(message=SimpleNamespace(content=text), index=0),
        lambda text: [{"role": "assistant", "content": text}],
    ],
)
def test_the_best_of_n_comes_back_as_it_was_given(wrap: Any, model: RewardModel) -> None:
    texts = ["It is 4.", "It is 5.", "Why?"]
    candidates = [wrap(text) for text in texts]
    best, ranking = best_of_n(model, "What is 2+2?", candidates)
    assert best is candidates[ranking.best]
    assert ranking == model.rank("What is 2+2?", texts)


def test_nothing_to_choose_from_is_told(model: RewardModel) -> None:
    with pytest.raises(DataError, match="at least one"):
        best_of_n(model, "p", [])
    with pytest.raises(DataError, match=r"response 1: SimpleNamespace\. Expected text"):
        best_of_n(model, "p", [SimpleNamespace(words="x")])


def test_a_plain_callable(model: RewardModel) -> None:
    assert Judge(model)("2+2?", "4", "5") == model.compare("2+2?", "4", "5").probability
