"""`tinyrm plan`: what a study takes, before anything of it runs and without the hub.

Every point is composed and checked by what is known of its backbone (`model.shape`). Operations are counted on a net
without numbers (:mod:`tinyrm.model.costs`); hours are those operations over a rate, which is measured here by real
training steps with random weights, given by the user, or an assumption that is called one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch

from tinyrm import provenance, reuse
from tinyrm.config import TinyRMConfig, arm_name, check, claim_of, claim_problems, config_dir, pairings, to_config
from tinyrm.config.claim import SEED
from tinyrm.errors import ConfigError, DataError, ModelError, did_you_mean
from tinyrm.evaluation.benchmarks import FIXED, Benchmark
from tinyrm.model import Backbone
from tinyrm.model.costs import Costs, costs, random_net, rows_of, shape_backbone
from tinyrm.prompting import Layout
from tinyrm.report.claims import detectable, sections_of, table_for
from tinyrm.report.ranking import in_three_sections
from tinyrm.sweep.asked import asked

SIZES = ("small", "full")
# Dense bf16 peaks in TFLOP/s as NVIDIA states them, and the share of them that training is assumed to reach.
PEAKS = {"H100": 989.0, "H200": 989.0}
ASSUMED_SHARE = 0.45
# Pairs of data sets that only the hub has, as its viewer shows them.
HUB_PAIRS = {"Skywork/Skywork-Reward-Preference-80K-v0.2": 77_000}
_MEASURED_LENGTH, _MEASURED_ROWS, _STEPS = 256, 4, 3
_COSTS: reuse.Last[Costs] = reuse.Last(64)
_BACKBONES: reuse.Last[Backbone] = reuse.Last(8)
_BYTES_OF_A_PREDICTION = 120  # a row of predictions.parquet


@dataclass(frozen=True)
class Work:
    """The pairs of a trial and how long their rows are.

    Attributes:
        train, dev, test: pairs.
        length: mean tokens a row; a pair has two rows (two orders, or two responses).
        known: whether both were read from the data; else pairs are of :data:`HUB_PAIRS` and rows as long as allowed.
    """

    train: int
    dev: int
    test: int
    length: int
    known: bool


@dataclass(frozen=True)
class ArmPlan:
    """What an arm takes.

    Attributes:
        config: of its first seed.
        seeds: trials.
        work, costs: of a trial.
        flops: operations of a trial.
        disk: bytes that a trial leaves.
    """

    name: str
    config: TinyRMConfig
    seeds: int
    work: Work
    costs: Costs
    flops: float
    disk: int


@dataclass(frozen=True)
class Rate:
    """Operations a second, and where the number comes from."""

    tflops: float
    source: str
    measured: bool = True


@dataclass(frozen=True)
class StudyPlan:
    """What a study takes.

    Attributes:
        name: of the sweep.
        statement: of its claim.
        arms: in order.
        warmups: operations of each warm-up, made once for all seeds.
        store: bytes that the output of frozen layers may take at once.
        detectable: contrast -> smallest effect to be shown, as a share of 1.
        storage: URL.
    """

    name: str
    statement: str
    arms: tuple[ArmPlan, ...]
    warmups: dict[str, float]
    store: int
    detectable: dict[str, float]
    storage: str

    @property
    def trials(self) -> int:
        return sum(arm.seeds for arm in self.arms)

    @property
    def flops(self) -> float:
        """Operations of everything."""
        return sum(arm.seeds * arm.flops for arm in self.arms) + sum(self.warmups.values())

    def hours(self, rate: Rate) -> float:
        """Of one device."""
        return self.flops / (rate.tflops * 1e12) / 3600


def study_overrides(name: str, size: str | None) -> list[str]:
    """What is typed for a named study: `+sweeps=NAME/SIZE`, or `+sweeps=NAME` of one that has no sizes.

    Raises:
        ConfigError: there is none, with the near names.
    """
    folder = config_dir() / "sweeps"
    sized = sorted(p.parent.name for p in folder.glob("*/small.yaml") if p.parent.name != "size")
    plain = sorted(p.stem for p in folder.glob("*.yaml"))
    if name not in {*sized, *plain}:
        raise ConfigError(f"there is no study {name!r}.{did_you_mean(name, [*sized, *plain])}")
    if size is None:
        if name in plain:
            return [f"+sweeps={name}"]
        raise ConfigError(f"study {name!r} has sizes: give --size {' or --size '.join(SIZES)}.")
    if name not in sized or size not in SIZES:
        raise ConfigError(f"there is no --size {size} of {name}.{did_you_mean(size, SIZES if name in sized else [])}")
    return [f"+sweeps={name}/{size}"]


def plan(overrides: Sequence[str]) -> StudyPlan:
    """Compose, check and count what `python run.py -m OVERRIDES` would run.

    Raises:
        ConfigError: with every problem found, of points and claim.
        SweepError: it is no grid, or its grammar is wrong.
    """
    question = asked(config_dir(), overrides)
    configs: list[TinyRMConfig] = [to_config(config) for config in question.configs]
    claim = claim_of(question.master)
    benchmark = _benchmark(configs[0])
    units = sections_of(benchmark) if benchmark else {}
    problems = dict.fromkeys(problem for config in configs for problem in _problems(config))
    if claim.contrasts:
        sections = units or dict.fromkeys(s for c in claim.contrasts for s in c.sections)
        problems |= dict.fromkeys(claim_problems(claim, question.points, sections))
    if problems:
        raise ConfigError(list(problems))
    arms: dict[str, list[TinyRMConfig]] = {}
    for point, config in zip(question.points, configs, strict=True):
        arms.setdefault(arm_name(point), []).append(config)
    planned = tuple(_arm(name, group) for name, group in arms.items())
    paired = pairings(claim, question.points)
    seeds = len({point.get(SEED) for point in question.points})
    return StudyPlan(
        name=question.name or "(named by its question)",
        statement=claim.statement,
        arms=planned,
        warmups=_warmups(planned),
        store=max((_stored(arm) for arm in planned), default=0),
        detectable=dict(zip((p.name for p in paired), detectable(claim, paired, units, seeds), strict=True))
        if units
        else {},
        storage=question.storage,
    )


def _problems(config: TinyRMConfig) -> list[str]:
    """What is wrong with a point, as far as its shape tells."""
    try:
        facts = None
        if config.model.shape or config.model.source == "packaged":
            facts = _backbone(config).facts(config.prompt, config.objective.kind)
        check(config, facts)
    except ConfigError as error:
        return list(error.problems)
    except ModelError as error:
        return [str(error)]
    return []


def _backbone(config: TinyRMConfig) -> Backbone:
    return _BACKBONES.get(repr(asdict(config.model)), lambda: shape_backbone(config))


def _benchmark(config: TinyRMConfig) -> Benchmark | None:
    """What is reported on, where that is known here."""
    if config.evaluation.benchmark in FIXED:
        return in_three_sections(FIXED[config.evaluation.benchmark])
    pairs = _pairs(config)
    return None if pairs is None else table_for(config.evaluation.benchmark, pairs.reported)


def _pairs(config: TinyRMConfig) -> reuse.Pairs | None:
    """The pairs, where they are on this machine."""
    if config.data.reader == "hub" and reuse.file_state(config.data.path) is None:
        return None
    if config.evaluation.benchmark in FIXED and config.evaluation.path is None:
        config = replace(config, evaluation=replace(config.evaluation, benchmark="pairs"))
    try:
        return reuse.pairs(config.data, config.evaluation)
    except DataError as error:
        raise ConfigError(str(error)) from error


def _work(config: TinyRMConfig) -> Work:
    fixed, pairs = FIXED.get(config.evaluation.benchmark), _pairs(config)
    reported = sum(s.size for section in fixed.sections for s in section.subsets) if fixed else None
    if pairs is None:
        whole, data = HUB_PAIRS.get(str(config.data.path), 0), config.data
        if not whole and data.max_train_pairs is None:
            raise ConfigError(f"how many pairs {data.path} has is not known here: give data.max_train_pairs=N.")
        dev, test = round(whole * data.dev_fraction), round(whole * data.test_fraction)
        train = min(whole - dev - test or data.max_train_pairs or 0, data.max_train_pairs or whole)
        longest = config.prompt.max_tokens
        return Work(train, min(dev, data.max_dev_pairs or dev), reported or test, longest, known=False)
    backbone = _backbone(config)
    layout = Layout.of(config.objective.kind, config.prompt, backbone.tokenizer, backbone.segment_types)
    encoded = pairs.encode(layout, backbone, config.data.cache_dir)
    rows = sum(part.lengths.size for part in encoded)
    length = round(sum(int(part.lengths.sum()) for part in encoded) / rows)
    return Work(len(pairs.data.train), len(pairs.data.dev), reported or len(pairs.reported), length, known=True)


def _arm(name: str, configs: Sequence[TinyRMConfig]) -> ArmPlan:
    config = configs[0]
    work = _work(config)
    found = _counted(config, work.length)
    trained_rows = 2 * work.train * config.trainer.epochs  # two orders of a cloze, or two responses
    if config.objective.kind == "cloze" and config.objective.orders != "both":
        trained_rows //= 2
    looked = 2 * (work.dev * config.trainer.evaluations_per_epoch * config.trainer.epochs + work.test)
    flops = trained_rows * found.train + looked * found.forward
    kept = {"none": 0, "merged": found.parameters + found.trained}.get(config.trainer.save_model, found.trained)
    # Weights and both moments of Adam in last.ckpt, weights in best.safetensors; what model/ keeps; predictions.
    disk = 4 * (4 * found.trained + kept) + _BYTES_OF_A_PREDICTION * work.test
    return ArmPlan(name, config, len(configs), work, found, flops, disk)


def _decides(config: TinyRMConfig) -> list[object]:
    """What of a config decides the costs of a row."""
    return [asdict(config.model), asdict(config.adapter), asdict(config.speed), config.freeze, config.objective.kind]


def _counted(config: TinyRMConfig, length: int) -> Costs:
    return _COSTS.get((repr(_decides(config)), length), lambda: costs(config, length, _backbone(config)))


def _warmups(arms: Sequence[ArmPlan]) -> dict[str, float]:
    """Each warm-up is made once for all that share it: every weight is trained."""
    found = {}
    for arm in arms:
        config = arm.config
        if config.warmup.kind != "none":
            whole = replace(config, freeze=0, adapter=replace(config.adapter, kind="full"))
            a_row = _counted(whole, config.warmup.length).train
            found[f"{config.model.id} {config.warmup.kind}"] = a_row / config.warmup.length * config.warmup.tokens
    return found


def _stored(arm: ArmPlan) -> int:
    """Bytes of the frozen layers' output, where a store of it is not off: at most its limit."""
    speed, work = arm.config.speed, arm.work
    if speed.prefix == "off" or not arm.costs.stored:
        return 0
    share = 0.5 if speed.prefix_dtype == "bf16" else 1.0
    tokens = 2 * (work.train + work.dev + work.test) * work.length
    return int(min(tokens * arm.costs.stored * share, speed.prefix_gb * 1e9))


def measured_rate(config: TinyRMConfig) -> Rate:
    """Operations a second of real training steps of this shape, with random weights, on this machine's device."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    backbone = _backbone(config)
    net = random_net(config, backbone).to(device)
    net.train()
    count = 64 if device == "cuda" else _MEASURED_ROWS
    length = min(_MEASURED_LENGTH, config.prompt.max_tokens)
    rows = rows_of(net, count, length, device)
    half = config.trainer.precision in ("bf16", "auto")

    def step() -> None:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
            loss = net.scores(rows).float().sum()
        torch.autograd.backward(loss)
        if device == "cuda":
            torch.cuda.synchronize()

    step()  # the first warms up
    began = time.perf_counter()
    for _ in range(_STEPS):
        step()
    seconds = (time.perf_counter() - began) / _STEPS
    done = count * costs(config, length, backbone).train
    hardware = provenance.hardware()
    where = hardware["gpus"][0] if device == "cuda" else f"{hardware['cpu']}, {torch.get_num_threads()} threads"
    how = f"measured on {where}: {_STEPS} steps of {count} rows of {length} tokens, {'bf16' if half else 'float32'}"
    return Rate(done / seconds / 1e12, f"{how}, model={config.model.id} with random weights")


def assumed_rates() -> list[Rate]:
    """What none of us has measured."""
    return [
        Rate(ASSUMED_SHARE * peak, f"{ASSUMED_SHARE:.0%} of one {name}'s dense bf16 peak of {peak:.0f} TFLOP/s", False)
        for name, peak in PEAKS.items()
    ]
