"""The typed schema of a TinyRM config: every key, its type and its default, in one place.

Files under `conf/` say only what a choice changes. Hydra checks names and types against these classes when it
composes; rules that join several keys are in :mod:`tinyrm.config.rules`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class SourceConfig:
    """One place pairs come from."""

    reader: str = "synthetic"  # synthetic | jsonl | parquet | csv | folder | hub
    path: str | None = None  # file, folder with train/dev/test files, or hub id (`owner/name`)
    preset: str = "pairs"  # which columns mean what: see tinyrm.data.presets
    columns: dict[str, str] = field(default_factory=dict)  # our field -> your column, over the preset
    name: str | None = None  # configuration ("subset") of a hub data set
    revision: str | None = None  # git revision of a hub data set
    section: str | None = None  # the section of every pair, where the data does not say
    weight: float = 1.0  # share of this source in a mixture, relative to the others


@dataclass
class SyntheticConfig:
    """Size of the generated suite (`data=synthetic`)."""

    train_pairs: int = 2400
    dev_pairs: int = 300
    test_pairs: int = 900
    max_difficulty: int = 2  # grades 1..max_difficulty; grade 3 (real harm, wrong steps, logic bugs) is beyond MiniLM


@dataclass
class DataConfig(SourceConfig):
    """A source, or a `mixture` of sources, and what is done to its pairs."""

    sections: list[str] = field(default_factory=list)  # keep only these; empty keeps all
    unseen_subsets: str = "keep"  # keep | drop: pairs of dev and test in a subset that train has nothing of
    mixture: list[SourceConfig] = field(default_factory=list)  # where given, replaces the single source above
    dev_fraction: float = 0.1  # of the prompts, where the source has no dev split
    test_fraction: float = 0.1  # of the prompts, where the source has no test split
    max_train_pairs: int | None = None
    max_dev_pairs: int | None = None
    max_test_pairs: int | None = None
    split_seed: int = 0  # for splits and subsamples; apart from `seed`, so that replicates share the data
    cache_dir: str = "${oc.env:TINYRM_CACHE,'~/.cache/tinyrm'}"
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)


@dataclass
class VerbalizerConfig:
    """The words that fill the mask; each must be one token of the model's vocabulary."""

    a: str = "A"
    b: str = "B"


@dataclass
class ShareConfig:
    """How a token budget is shared when a pair is too long."""

    prompt: float = 0.3  # of the budget; the two responses share the rest equally
    prompt_head: float = 0.5  # of what is kept of a cut prompt, how much is its beginning
    response_head: float = 0.7  # the same for a cut response


@dataclass
class PromptConfig:
    """A cloze template; `{mask}` is filled with the verbalizer of the better option."""

    id: str = MISSING
    cloze: str = MISSING  # slots {prompt} {a} {b} {mask}; {sep} is the tokenizer's separator
    single: str = "{prompt}{sep}{response}"  # for objectives that see one response alone
    verbalizers: VerbalizerConfig = field(default_factory=VerbalizerConfig)
    share: ShareConfig = field(default_factory=ShareConfig)
    max_tokens: int = 512  # of one encoded sequence, template included
    segments: bool = True  # where the model has two segment embeddings, option B gets the second


@dataclass
class ModelConfig:
    """A bidirectional masked language model."""

    id: str = MISSING
    source: str = "hub"  # hub | packaged | random | local
    path: str | None = None  # hub id, or a local folder
    revision: str | None = None
    dropout: float | None = 0.0  # of hidden states; null keeps the model's own
    attention_dropout: float | None = 0.0  # null keeps the model's own; above 0 the fast CPU attention is not used
    shape: dict[str, Any] = field(default_factory=dict)  # for source=random: fields of the model's config class
    tokenizer: str = "minilm"  # for source=random: the packaged model whose tokenizer it gets: minilm | nano


SPOILERS = ("elsewhere", "altered", "later", "disordered", "repeated")


@dataclass
class PassagesConfig:
    """Comparisons made out of text: its true continuation, or a prompt's own response, beside something worse."""

    prompt_words: list[int] = field(default_factory=lambda: [4, 110])  # fewest and most; short ones are more frequent
    option_words: list[int] = field(default_factory=lambda: [3, 55])  # the same of what may follow
    # What is worse: a passage from elsewhere in the corpus, the continuation altered, one from later on in the text,
    # words out of order, its beginning repeated. The first, fourth and fifth are learnt first.
    spoilers: list[str] = field(default_factory=lambda: list(SPOILERS))


@dataclass
class WarmupConfig:
    """Training of the backbone before preference training, on text that says nothing of preferences.

    What comes out is kept under `data.cache_dir`, for every run that asks for the same.
    """

    kind: str = "none"  # none | mlm: masked tokens of the text | sft: answer tokens in the cloze form, mixed with mlm
    # A file or folder of text, as `corpus.path` of `tinyrm pretrain`; documents that hold a prompt of dev or test are
    # left out. null: the prompts and chosen responses of the training pairs, as conversations.
    path: str | None = None
    questions: str | None = None  # for sft: a .jsonl file with {"question", "choices", "answer": index, "split"}
    tokens: int = 1_000_000  # that the model is shown
    length: int = 256  # of a packed row, and most of a cloze, in tokens
    rate: float = 0.3  # share of the tokens of masked text to predict
    optimizer: str = "adamw"  # adamw | muon
    lr: float = 3e-4  # its peak; rises over the first tenth, then falls to 0
    batch_tokens: int = 4096  # of one step
    plain_share: float = 0.25  # for sft: of the batches that are masked text; at 0 its loss is soon lost
    question_share: float = 0.3  # for sft with questions: of the cloze batches that ask them
    # For sft: what is compared. Short texts and few kinds teach to compare; long ones and all kinds from the start do
    # not (see the card of nano).
    passages: PassagesConfig = field(
        default_factory=lambda: PassagesConfig([4, 40], [3, 20], ["elsewhere", "disordered", "repeated"])
    )
    dev_fraction: float = 0.05  # of the documents, or of the prompts, held out to measure it on
    seed: int = 0  # apart from `seed`, so that replicates share one warm-up
    # Most that all warm-ups under data.cache_dir may take; what was used longest ago goes first, one in use never.
    cache_gb: float = 20.0


@dataclass
class AdapterConfig:
    """What is trained on the layers that are not frozen."""

    kind: str = "dora"  # dora | lora | full | none
    rank: int = 16
    alpha: float | None = None  # scale is alpha / rank; null means alpha = 2 * rank
    dropout: float = 0.0
    targets: list[str] = field(default_factory=list)  # linear modules by their last name; empty: all of a layer
    train_head: bool = True  # train the prediction head (its transform; never the tied vocabulary matrix)


@dataclass
class ObjectiveConfig:
    """What the model is asked."""

    kind: str = "cloze"  # cloze | bradley_terry
    # both: each pair in both orders at once; half of the loss is that of their mean log-odds (the verdict), where a
    # preference for a position cancels, half that of each order | random: one order a pair and epoch, from the seed
    orders: str = "both"
    label_smoothing: float = 0.0


@dataclass
class OptimizerConfig:
    """AdamW or Muon, and its schedule."""

    kind: str = "adamw"  # adamw | muon: for matrices; everything else by AdamW, at the same rate
    lr: float = 1e-3
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-6
    warmup_fraction: float = 0.1  # of all steps, linear from 0
    schedule: str = "linear"  # after the warm-up: linear | cosine | constant
    clip_norm: float = 1.0  # of the global gradient norm; 0 is off


@dataclass
class LoopConfig:
    """What every training loop has."""

    batch_tokens: int = 8192  # most tokens of one forward pass: long pairs make smaller batches
    accumulate: int = 1  # forward passes per optimizer step
    checkpoint_steps: int = 50  # optimizer steps between two writes of last.ckpt; 0: only at evaluations
    accelerator: str = "auto"
    devices: int = 1  # of one run on one machine; what a trial of a sweep has is sweep.devices_per_trial
    precision: str = "auto"  # auto | 32 | bf16 | 16: auto is bf16 where the hardware has it, else 32
    threads: int = 0  # CPU threads of one process; 0 leaves torch's choice
    progress: str = "auto"  # auto (only on a terminal) | on | off

    @property
    def processes(self) -> int:
        """How many train together, one a device."""
        return self.devices


@dataclass
class TrainerConfig(LoopConfig):
    """How long, on what, and how batches are made."""

    epochs: int = 1
    nodes: int = 1  # machines of one run: what a trial of a sweep has is sweep.nodes_per_trial
    batch_pairs: int = 8  # most pairs of one forward pass on one device; x accumulate x devices x nodes for a step
    evaluations_per_epoch: int = 1  # of the dev split
    patience: int = 0  # evaluations without a better dev accuracy before stopping early; 0 is off
    # What model/ holds at the end. auto: adapter in a trial of a sweep, else merged | merged: the model for
    # `transformers` and the adapter beside it | adapter: the latter alone, a few MB (where there is none, the merged
    # model) | none: nothing; the trained weights are in checkpoints/
    save_model: str = "auto"

    @property
    def processes(self) -> int:
        return self.nodes * self.devices


@dataclass
class SpeedConfig:
    """Shortcuts that compute less and come to the same; `speed=plain` computes all as the libraries do."""

    dora: str = "fast"  # fast: weight norms by the low-rank identity | peft: PEFT's own, which make the weight anew
    last_layer: str = "read"  # read: one position a row, the one that the head reads | whole
    # Store the output of the frozen layers (BERT, RoBERTa, ModernBERT; one device a run). auto: where a run (or the
    # sweep it belongs to) reads it more than once, it fits, and computing takes longer than reading | on: wherever it
    # fits | off
    prefix: str = "auto"
    prefix_gb: float = 8.0  # most that the store under data.cache_dir may take; what was used longest ago goes first
    prefix_dtype: str = "32"  # 32: exact | bf16: half the size, hidden states rounded to 8 bits of mantissa
    optimizer: str = "fused"  # fused: one kernel for all tensors | plain
    compile: bool = False  # torch.compile of the layers that are trained: minutes at the start, for long runs


@dataclass
class EvaluationConfig:
    """What is reported at the end. Never used for choosing."""

    benchmark: str = "pairs"  # pairs (the data's own test split) | rewardbench | rewardbench2
    path: str | None = None  # a local copy of the benchmark; null takes it from the hub
    partial: bool = False  # accept a benchmark that lacks subsets, and average over those that are there
    # What scores. auto: float32; on a GPU, or where trainer.precision was given, that of training | float32 | bf16 |
    # int8: the linear layers in 8-bit integers, on a CPU with AVX512-VNNI | onnx: float32 by ONNX Runtime, on the CPU
    backend: str = "auto"
    batch_tokens: int = 16384


@dataclass
class TrackingConfig:
    """Where a run can be watched and compared."""

    # wandb: online where there is a key, else offline | csv: curves/N/metrics.csv | tensorboard
    loggers: list[str] = field(default_factory=lambda: ["csv", "wandb"])
    project: str = "tinyrm"
    entity: str | None = None  # user or team of W&B; null: the key's own
    name: str | None = None  # null: the model and the config's hash, in a sweep its name; its trials add their number
    group: str | None = None  # null: the sweep's name
    tags: list[str] = field(default_factory=list)
    model: bool = False  # keep model/ in W&B, as a version of the sweep's collection
    patience_s: float = 15.0  # how long W&B's server may keep a run waiting, at its start and again at its end


@dataclass
class TinyRMConfig:
    """One experiment."""

    seed: int = 0
    freeze: int = 2  # 0: nothing; N: the embeddings and the first N encoder layers
    data: DataConfig = field(default_factory=DataConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    warmup: WarmupConfig = field(default_factory=WarmupConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
