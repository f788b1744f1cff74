"""RESULTS.md and its figures, from the records of studies and nothing else: the same records give the same bytes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

Record = Mapping[str, Any]
_COLORS = {"supported": "#1a7f37", "refuted": "#cf222e", "undecided": "#6e7781"}
_EXPECTED = {"better": "better", "no_worse": "no worse", "same": "the same"}
_GITHUB_LINE = "<!-- Written by `tinyrm results` from the records in {folder}: do not edit. -->"


def page(records: Sequence[Record], folder: Path, base: Path) -> str:
    """The whole page.

    Args:
        records: of studies, see :mod:`tinyrm.report.results`.
        folder: where they and their figures are.
        base: the folder of the page, from which it links to them.
    """
    place = os.path.relpath(folder, base).replace(os.sep, "/")
    lines = [_GITHUB_LINE.format(folder=f"{place}/"), "", "# Results", ""]
    if not records:
        return "\n".join([*lines, "No study has been recorded yet: `tinyrm results NAME` records a finished one.", ""])
    lines += [
        "What the studies in `sweeps/` found about claims of the paper (arXiv:2507.09973). Differences are in "
        "points of test accuracy with 95% intervals for other test pairs *and* other seeds; *undecided* means that "
        "neither the effect nor its absence was shown.",
        "",
        *_claims(records),
        "",
        *_time(records),
        "",
    ]
    for record in records:
        lines += [*_study(record, place), ""]
    return "\n".join([*lines, *_not_shown(records)]).rstrip() + "\n"


def _claims(records: Sequence[Record]) -> Iterator[str]:
    yield "## Claims"
    yield ""
    yield "| claim | verdict | decided by | expected | effect [95%] | p (Holm) | could have seen | n | seeds |"
    yield "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for record in records:
        for statement, verdict in record["claims"].items():
            rows = [c for c in record["contrasts"] if c["statement"] == statement]
            shown = f"{_text(statement)} ([{record['name']}](#{_anchor(record['name'])})) | **{verdict}**"
            if not rows:
                yield f"| {shown} | not judged | | | | | | |"
            for number, c in enumerate(rows):
                yield f"| {' | ' if number else shown} | {_contrast(c)} |"
    yield ""
    yield (
        "*Could have seen*: the smallest true effect that 80% of studies as large would show, with the variances found "
        "and corrected for the contrasts of its study. A verdict rests on the test, corrected after Holm over the "
        "contrasts of a study; *no worse* and *the same* are within the margin that stands beside them, and undecided "
        "where neither arm is shown to beat guessing: then there was nothing to lose. A claim with several contrasts "
        "is supported by all of them, or by any where its study says so."
    )


def _contrast(c: Record) -> str:
    expected = _EXPECTED[c["expect"]] + ("" if c["expect"] == "better" else f" (margin {100 * c['margin']:.0f})")
    cells = (
        f"{_text(c['name'])}: {c['verdict']}" + ("" if c["learnt"] else " (neither arm is shown to beat guessing)"),
        expected,
        _difference(c["effect"]),
        _p(c["p_holm"]),
        _points(c["detectable"]),
        f"{c['n']:,}",
        str(c["seeds"]),
    )
    return " | ".join(cells)


def _study(record: Record, place: str) -> Iterator[str]:
    yield f"## {record['name']}"
    yield ""
    if record["statement"]:
        yield f"> {_text(record['statement'])}"
        yield ""
    for note in record.get("notes", []):
        yield f"Note: {_text(note)}"
        yield ""
    if record["contrasts"]:
        yield f"![effects and intervals of {record['name']}]({place}/{record['name']}.svg)"
        yield ""
    yield from _arms(record)
    yield ""
    yield from _probes(record)
    yield f"Budget: {_budget(record)}."
    yield ""
    yield f"Hardware and versions: {_environment(record)}."
    yield ""
    for reason in record["not_judged"]:
        yield f"Not judged: {_text(reason)}."
        yield ""
    yield _failures(record)
    yield ""
    yield f"```sh\n{record['command']}\n```"


def _arms(record: Record) -> Iterator[str]:
    sections = list(dict.fromkeys(name for arm in record["arms"] for name in arm["sections"]))
    yield f"| arm | seeds | overall | {' | '.join(sections)} | dev | trained parameters | training, s |"
    yield f"| --- | --- | ---: |{' ---: |' * (len(sections) + 3)}"
    for arm in record["arms"]:
        cells = [_accuracy(arm["sections"][s]["accuracy"]) if s in arm["sections"] else "" for s in sections]
        numbers = [_percent(arm["dev_accuracy"]), _count(arm["trained_parameters"]), _count(arm["train_seconds"])]
        seeds = ", ".join(map(str, arm["seeds"]))
        yield f"| {_text(arm['name'])} | {seeds} | {_accuracy(arm['accuracy'])} | {' | '.join([*cells, *numbers])} |"
    widest = max(record["arms"], key=lambda arm: len(arm["sections"]))
    for rule in ("longer", "shorter"):
        parts = [widest["sections"].get(s, {}).get(f"{rule}_wins") for s in sections]
        cells = [_percent(part) for part in parts]
        yield f"| *the {rule} response wins* | | {_percent(widest[f'{rule}_wins'])} | {' | '.join(cells)} | | | |"


def _probes(record: Record) -> Iterator[str]:
    rows = [(arm["name"], arm["probes"]) for arm in record["arms"] if arm["probes"]]
    if not rows:
        return
    seed = record["arms"][0]["seeds"][0]
    yield f"Probes of one trial an arm (its first seed, as {seed}; pairs counted alike):"
    yield ""
    yield "| arm | flips with order | length-controlled | bag of words | agrees with it | ECE | scaled | not cut |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name, p in rows:
        shares = [_share(p[key]) for key in ("flips", "length_controlled", "bag_of_words", "agrees_with_it")]
        cells = [*shares, _number(p["ece"]), _number(p["ece_scaled"]), _share(p["whole"])]
        yield f"| {_text(name)} | {' | '.join(cells)} |"
    yield ""


def _time(records: Sequence[Record]) -> Iterator[str]:
    yield "## Time, and what tighter intervals would take"
    yield ""
    yield "| study | trials | hours of one worker | a trial, s | half width now | for half of it | hours then |"
    yield "| --- | ---: | ---: | ---: | ---: | --- | ---: |"
    for record in records:
        seconds, trials = record["seconds"], sum(record["trials"].values())
        halves = [(c["effect"]["high"] - c["effect"]["low"]) / 2 for c in record["contrasts"] if _known(c["effect"])]
        seeds = max((c["seeds"] for c in record["contrasts"]), default=len(record["arms"][0]["seeds"]))
        wanted = seeds_for_half(seeds)
        n = max((c["n"] for c in record["contrasts"]), default=record["arms"][0]["accuracy"]["n"])
        half = f"{100 * sum(halves) / len(halves):.1f}" if halves else ""
        yield (
            f"| {record['name']} | {trials} | {seconds['all'] / 3600:.2f} | {seconds['median']:.0f} | {half} | "
            f"{4 * n:,} test pairs and {wanted} seeds | {seconds['all'] / 3600 * wanted / seeds:.1f} and the scoring |"
        )
    yield ""
    yield (
        "Half width: mean over the contrasts of a study, in points. An interval has a part from the test pairs, which "
        "halves with four times as many, and one from the seeds, t(seeds - 1) / sqrt(seeds); which of them is larger "
        "differs by contrast, so that both are given. Hours are those that trials took, as a worker's clock has them, "
        "with whatever else the machine did."
    )


def seeds_for_half(seeds: int) -> int:
    """The fewest seeds at which t / sqrt(seeds) is at most half of what it is now."""

    def width(count: int) -> float:
        return float(stats.t.ppf(0.975, count - 1)) / math.sqrt(count)

    if seeds < 2:
        return 3
    wanted = seeds + 1
    while width(wanted) > width(seeds) / 2:
        wanted += 1
    return wanted


def _not_shown(records: Sequence[Record]) -> Iterator[str]:
    models = sorted({str(r["budget"]["model.id"]) for r in records if "model.id" in r["budget"]})
    benchmarks = sorted({r["benchmark"] for r in records})
    seeds = sorted({len(arm["seeds"]) for r in records for arm in r["arms"]})
    yield "## What is not shown"
    yield ""
    yield f"- Other backbones: these studies used {', '.join(models) or 'those in their tables'}."
    yield (
        f"- Other data: each study has one training set and one test set ({', '.join(benchmarks)}); intervals are for "
        "other pairs *of the same kind*. Test pairs that share a prompt are taken for independent: intervals are "
        "a little too narrow where many do."
    )
    yield (
        f"- More than {seeds[-1]} seeds an arm"
        f"{'' if len(seeds) == 1 else f' (some have {seeds[0]})'}: the spread between seeds is itself hardly known."
    )
    yield "- Learning rates were fixed beforehand, not tuned for each arm; a better rate may turn a small difference."
    yield "- Longer training, and sequences longer than a study's `prompt.max_tokens`: many pairs were cut to fit."
    yield "- Sections differ in their pairs, not only in subject: a gap between them is that of this benchmark."
    lost = [r["name"] for r in records if r["failed"]]
    yield f"- Trials without a result: in {', '.join(lost)}, listed there." if lost else "- No trial was lost."
    yield (
        "- Nothing was pruned unless a study lists pruned trials. What trials share (tokens, frozen layers' output, a "
        "warm-up) was computed once and kept: it is the same for every arm that reads it, so that accuracies are "
        "compared fairly, but the seconds of whoever came first are longer."
    )


# --- figures


def figure(record: Record) -> str:
    """A forest plot as SVG: each contrast's effect with its interval, and the margin it is held against."""
    import vl_convert

    rows = [
        {
            "contrast": c["name"],
            "effect": 100 * c["effect"]["value"],
            "low": 100 * c["effect"]["low"],
            "high": 100 * c["effect"]["high"],
            "margin": None if c["expect"] == "better" else -100 * c["margin"],
            "verdict": c["verdict"],
        }
        for c in record["contrasts"]
        if _known(c["effect"])
    ]
    y = {"field": "contrast", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 420}}
    color = {
        "field": "verdict",
        "type": "nominal",
        "scale": {"domain": list(_COLORS), "range": list(_COLORS.values())},
        "legend": {"orient": "bottom", "title": None},
    }
    title = "difference in test accuracy, points [95%]"
    x = {"type": "quantitative", "title": title, "scale": {"zero": True}}
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": "white",
        # The labels' width is that of the font at hand here; a reader's may be wider.
        "padding": {
            "left": 5 + 1.5 * max((len(str(row["contrast"])) for row in rows), default=0),
            "right": 5,
            "top": 5,
            "bottom": 5,
        },
        "width": 420,
        "height": {"step": 28},
        "data": {"values": rows},
        "layer": [
            {"mark": {"type": "rule", "color": "#8c959f"}, "encoding": {"x": {"datum": 0, "type": "quantitative"}}},
            {
                "mark": {"type": "tick", "color": "#bf8700", "thickness": 2},
                "encoding": {"x": {**x, "field": "margin"}, "y": y},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y, "color": color},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 60},
                "encoding": {"x": {**x, "field": "effect"}, "y": y, "color": color},
            },
        ],
    }
    return str(vl_convert.vegalite_to_svg(spec))


# --- words


def _budget(record: Record) -> str:
    told = [f"`{key}={value}`" for key, value in record["budget"].items()]
    kept = record["pairs"].get("kept") or {}
    if kept:
        counts = (f"{section} {c['train']:,}/{c['dev']:,}/{c['test']:,}" for section, c in kept.items())
        told.append(f"train/dev/test pairs of the first trial: {', '.join(counts)}")
    cut = record["pairs"].get("cut") or {}
    if cut:
        told.append(f"cut to fit: {_percent(cut.get('train'))}% of train, {_percent(cut.get('test'))}% of test pairs")
    marks = [" ".join(f"{k} {v[:12]}" for k, v in found.items()) for found in record["fingerprints"][:1]]
    return "; ".join([*told, *(f"fingerprints {mark}" for mark in marks)])


def _environment(record: Record) -> str:
    order = (
        "code revision",
        "cpu",
        "cpu_count",
        "memory_gib",
        "GPUs",
        "system",
        "python",
        "torch",
        "transformers",
        "peft",
    )
    found = record["environment"]
    return "; ".join(f"{name} {' or '.join(found[name])}" for name in order if name in found)


def _failures(record: Record) -> str:
    counts = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in record["trials"].items())
    lost = "; ".join(
        f"trial {f['trial']} ({_text(f['arm'])}) {f['state']}: {_text(f['message'])}" for f in record["failed"]
    )
    return f"Trials: {counts}." + (f" Without a result: {lost}." if lost else "")


def _text(text: object) -> str:
    """User text in a cell of a table: on one line, nothing in it is markup."""
    line = " ".join(str(text or "").split())
    for mark in "\\|<>*_`[]":
        line = line.replace(mark, f"\\{mark}" if mark != "<" else "&lt;")
    return line


def _anchor(name: str) -> str:
    """GitHub's anchor of a heading."""
    return "".join(c for c in name.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def _known(metric: Record) -> bool:
    return metric["value"] is not None and metric["low"] is not None


def _difference(metric: Record) -> str:
    if not _known(metric):
        return "-"
    return f"{100 * metric['value']:+.1f} [{100 * metric['low']:+.1f}, {100 * metric['high']:+.1f}]"


def _accuracy(metric: Record) -> str:
    if not _known(metric):
        return "-"
    return f"{100 * metric['value']:.1f} [{100 * metric['low']:.1f}, {100 * metric['high']:.1f}]"


def _share(metric: Record | None) -> str:
    return "-" if metric is None or metric["value"] is None else f"{100 * metric['value']:.1f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _p(value: float | None) -> str:
    return "-" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
