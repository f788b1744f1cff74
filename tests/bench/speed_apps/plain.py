"""What people write without TinyRM: Lightning, `transformers` and PEFT as their tutorials have it, under Hydra.

Same pairs, tokens, backbone, DoRA layers and optimizer; random batches padded to their longest, the masked-LM loss and
logits over the whole vocabulary, every layer computed every time. `python plain.py -m hydra/launcher=joblib ...`
"""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tinyrm import reuse
from tinyrm.config import VerbalizerConfig, config_dir, register, to_config
from tinyrm.model import load_weights, verbalizer_ids
from tinyrm.prompting import EncodedPairs, Layout

IGNORED = -100  # label of a position without a loss
BATCH = 8


def one_pass(batch: dict[str, Any]) -> dict[str, Tensor]:
    """All rows of a batch in their order, padded to the longest: what a collator of `transformers` makes."""
    longest = max(rows["attention_mask"].shape[1] for rows in batch["passes"])
    return {
        name: torch.cat(
            [
                F.pad(rows[name], (0, longest - rows[name].shape[1])) if rows[name].ndim == 2 else rows[name]
                for rows in batch["passes"]
            ]
        )[batch["unsort"]]
        for name in batch["passes"][0]
    }


class Rows:
    """Pairs as a collator sees them: each in one order, or in both."""

    def __init__(self, pairs: EncodedPairs, words: tuple[int, int], both: bool) -> None:
        self.pairs, self.words, self.both = pairs, words, both
        self.rng = np.random.default_rng(0)

    def __call__(self, batch: list[int]) -> dict[str, Tensor]:
        first = [True] * len(batch) + [False] * len(batch) if self.both else list(self.rng.random(len(batch)) < 0.5)
        rows = one_pass(self.pairs.collate(batch * 2 if self.both else batch, first))
        labels = torch.full_like(rows["input_ids"], IGNORED)
        labels[torch.arange(len(first)), rows["mask_position"]] = torch.tensor([self.words[not f] for f in first])
        return {**rows, "labels": labels}


class Plain(L.LightningModule):
    def __init__(self, model: Any, words: tuple[int, int], lr: float) -> None:
        super().__init__()
        self.model, self.words, self.lr = model, words, lr
        self.right: list[Tensor] = []

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        loss: Tensor = self.model(**{k: v for k, v in batch.items() if k != "mask_position"}).loss
        return loss

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        logits = self.model(**{k: v for k, v in batch.items() if k not in ("mask_position", "labels")}).logits
        at_mask = logits[torch.arange(len(logits)), batch["mask_position"]]
        first, second = (at_mask[:, self.words[0]] - at_mask[:, self.words[1]]).chunk(2)
        self.right.append(first - second > 0)

    test_step = validation_step

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=self.lr)

    def accuracy(self) -> float:
        right, self.right = torch.cat(self.right).float().mean().item(), []
        return right


register()


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="experiment")
def main(composed: DictConfig) -> float:
    config = to_config(composed)
    torch.set_num_threads(config.trainer.threads)
    L.seed_everything(config.seed)
    backbone = reuse.base(config.model).backbone
    layout = Layout.of("cloze", config.prompt, backbone.tokenizer, backbone.segment_types)
    train, dev, test = reuse.pairs(config.data, config.evaluation).encode(layout, backbone, None)
    model = load_weights(backbone, "cloze", seed=config.seed)
    names = [
        f"{backbone.family.encoder}.{backbone.family.layers}.{number}.{name}"
        for number, layer in enumerate(backbone.family.layers_of(model))
        for name, part in layer.named_modules()
        if number >= config.freeze and isinstance(part, torch.nn.Linear)
    ]
    rank = config.adapter.rank
    head = backbone.family.head_names(model, "cloze")
    lora = LoraConfig(r=rank, lora_alpha=2 * rank, use_dora=True, target_modules=names, modules_to_save=head)
    words = verbalizer_ids(backbone.tokenizer, VerbalizerConfig())
    module = Plain(get_peft_model(model, lora), words, config.optimizer.lr)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=config.trainer.epochs,
        precision="32-true",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=HydraConfig.get().runtime.output_dir,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=1,
    )
    loaders = [
        DataLoader(range(len(pairs)), BATCH, shuffle=n == 0, collate_fn=Rows(pairs, words, both=n > 0))  # type: ignore[arg-type]
        for n, pairs in enumerate((train, dev, test))
    ]
    module.right = []
    trainer.fit(module, loaders[0], loaders[1])
    module.right = []
    trainer.validate(module, loaders[1], verbose=False)
    dev_accuracy = module.accuracy()
    trainer.test(module, loaders[2], verbose=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    found = {"dev": dev_accuracy, "test": module.accuracy(), "peak_memory_mib": peak}
    (Path(HydraConfig.get().runtime.output_dir) / "accuracy.json").write_text(json.dumps(found), encoding="utf-8")
    return dev_accuracy


if __name__ == "__main__":
    main()
