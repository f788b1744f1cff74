"""The model card beside saved weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinyrm.config import PretrainingConfig, TinyRMConfig
from tinyrm.evaluation.metrics import is_defined
from tinyrm.evaluation.results import EvaluationResult
from tinyrm.report.example import example
from tinyrm.report.licences import base_licence, card_licence, data_licences
from tinyrm.types import Metric

_SOURCES = 40  # that a pretrained backbone's card lists by name


def model_card(config: TinyRMConfig, result: EvaluationResult, record: dict[str, Any]) -> str:
    """Markdown with YAML front matter: what the model is, its numbers with intervals, how to load it, its limits."""
    base = config.model.path or config.model.id
    if config.model.source == "local":  # a folder of this machine is nobody else's business
        base = Path(base).name
    auto = "AutoModelForMaskedLM" if config.objective.kind == "cloze" else "AutoModelForSequenceClassification"
    rows = [
        f"| {name} | {m.n} | {_percent(m.accuracy)} | {_point(m.longer_wins)} | {_point(m.shorter_wins)} |"
        for name, m in result.sections.items()
    ]
    dev = record["dev"]["accuracy"] if record.get("dev") else float("nan")
    scored = "{name} in {precision} on {device}".format(**record["scoring"])
    return f"""---
library_name: transformers
license: {card_licence(config)}
base_model: {base}
tags: [reward-model, tinyrm]
---
# A TinyRM: {config.model.id}, {config.objective.kind}, {config.adapter.kind}

Says which of two responses to a prompt is better. Trained with TinyRM (config `{record["config_hash"]}`), following
"Tiny Reward Models" (arXiv:2507.09973).

| section | n | accuracy, % [95%] | longer wins | shorter wins |
| --- | ---: | ---: | ---: | ---: |
{chr(10).join(rows)}
| **overall** (mean of sections) | {result.overall.n} | {_percent(result.overall.accuracy)} | | |

Benchmark: {result.benchmark.name}, scored by {scored}. Dev accuracy of the kept weights: {100 * dev:.1f}%.
Trained parameters: {record["parameters"]["trained"]:,} of {record["parameters"]["all"]:,};
freeze={config.freeze}; prompt={config.prompt.id}.
{_warmup(config, record)}
With TinyRM: `RewardModel.from_pretrained(FOLDER).compare(prompt, a, b)`. With `transformers` alone, in the folder of
the merged model, the same numbers:

```python
{example(config)}
print(log_odds("What is the capital of France?", "Paris.", "Lyon."))
```

- `merged/` loads with `transformers.{auto}`; `adapter/` (where there is one) with `peft` on top of the base model. To
  publish: `hf upload OWNER/NAME model/merged`.
- `tinyrm.json` in each holds the template and verbalizers.
- Score both orders of the responses and average the log-odds: the numbers above are made so.

| made from | licence |
| --- | --- |
| backbone {base} | {base_licence(config.model)} |
{chr(10).join(f"| {name} | {licence} |" for name, licence in data_licences(config).items())}

Limits: it knows what its training pairs show and no more; see the columns of the two length rules for how much of its
accuracy length alone would give. Not a safety filter.
"""


def _warmup(config: TinyRMConfig, record: dict[str, Any]) -> str:
    """A line on the warm-up, where there was one."""
    if "warmup" not in record:
        return ""
    kind, told = config.warmup.kind, record["warmup"]
    text = f"the text in {Path(config.warmup.path).name}" if config.warmup.path else "the training pairs"
    return (
        f"Before that the whole backbone was warmed up (warmup={kind}) on {told['tokens']:,} tokens of {text}; loss on "
        f"held-out text {told['before']['loss']:.3f} before, {told['after']['loss']:.3f} after.\n"
    )


def pretraining_card(config: PretrainingConfig, record: dict[str, Any]) -> str:
    """Markdown with YAML front matter: what a pretrained backbone is, what it was shown, its held-out numbers."""
    held = record["heldout"]
    answers = [
        f"| accuracy on held-out {name} ({held[name]['n']}) | {100 * held[name]['value']:.1f}% "
        f"[{100 * held[name]['low']:.1f}, {100 * held[name]['high']:.1f}] |"
        for name in ("questions", "passages")
        if name in held
    ]
    curve = [f"| {e['step']:.0f} | {e['loss']:.3f} | {_share(e)} |" for e in record["curve"]]
    largest = sorted(record["sources"].items(), key=lambda item: -item[1])
    sources = [f"| {name or 'not named'} | {size:,} |" for name, size in largest[:_SOURCES]]
    if rest := largest[_SOURCES:]:
        sources.append(f"| {len(rest)} others | {sum(size for _, size in rest):,} |")
    line = "\n".join
    return f"""---
library_name: transformers
tags: [masked-lm, tinyrm]
---
# {config.model.id}: a masked language model of {record["parameters"]:,} parameters

Pretrained with TinyRM (config `{record["config_hash"]}`) on {record["throughput"]["tokens"]:,} tokens in
{record["seconds"]["train"] / 60:.0f} minutes ({record["hardware"]["cpu"]}, {record["hardware"]["cpu_count"]} cores,
{len(record["hardware"]["gpus"])} GPUs): {config.mlm.tokens:,} of masked text ({100 * config.mlm.rate:.0f}% masked, rows
of {config.mlm.length}), then {config.sft.tokens:,} of which about {100 * (1 - config.sft.plain_share):.0f}% were answer
tokens in the cloze form (Clavié et al. 2025, arXiv:2502.03793), rows of {config.sft.length}.

| held out | |
| --- | ---: |
| loss, nats a token ({held["tokens"]:,} tokens, {100 * held["rate"]:.0f}% masked) | {held["loss"]:.3f} |
| unigram / 5-gram model at the same places | {held["unigram"]:.3f} / {held["5-gram"]:.3f} |
{line(answers)}

| step | held-out loss | answers, % |
| ---: | ---: | ---: |
{line(curve)}

| source | characters |
| --- | ---: |
{line(sources)}

The n-gram models see the true tokens to the left, this model both sides with some of them masked.
"""


def _share(evaluation: dict[str, float]) -> str:
    return f"{100 * evaluation['answers']:.1f}" if "answers" in evaluation else "-"


def _percent(metric: Metric) -> str:
    if not is_defined(metric):
        return "-"
    return f"{100 * metric.value:.1f} [{100 * metric.low:.1f}, {100 * metric.high:.1f}]"


def _point(metric: Metric) -> str:
    return f"{100 * metric.value:.1f}" if is_defined(metric) else "-"
