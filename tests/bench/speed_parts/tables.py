"""The figures for people."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from .grid import GRIDS


def table(figures: dict[str, Any]) -> Table:
    """Pairs a second of each contender."""
    shown = Table(title="Pairs a second, whole runs")
    shown.add_column("contender")
    for column in ("pairs/s", "padding, %", "peak memory, MiB", "store, MiB"):
        shown.add_column(column, justify="right")
    for name, own in figures.items():
        padding = f"{100 * own['padding']:.1f}" if "padding" in own else ""
        store = str(own["store_mib"] or "")
        shown.add_row(name, f"{own['pairs_per_second']:.2f}", padding, f"{own['peak_memory_mib']:,}", store)
    return shown


def loss_table(found: dict[str, Any]) -> Table:
    """What each way of scoring changes against float32."""
    pairs = next(iter(found.values()))["pairs"]
    spread = next(iter(found.values()))["spread"]
    shown = Table(title=f"Scores of {pairs} pairs against float32 (standard deviation of a log-odds {spread:.3g})")
    shown.add_column("contender")
    for column in ("accuracy, points", "verdicts flipped, %", "largest difference of a log-odds"):
        shown.add_column(column, justify="right")
    for name, own in found.items():
        changed = f"{100 * own['accuracy']:+.2f}", f"{100 * own['flipped']:.2f}", f"{own['largest_difference']:.2g}"
        shown.add_row(name, *changed)
    return shown


def growth_table(found: dict[str, Any]) -> Table:
    """Milliseconds along each axis."""
    shown = Table(title="How cost grows (training: DoRA, rank 16, nothing frozen)")
    shown.add_column("axis")
    for column in ("value", "scoring, ms", "times first", "training, ms", "times first"):
        shown.add_column(column, justify="right")
    for axis, rows in found["axes"].items():
        for row in rows:
            times = [f"{row[kind] / rows[0][kind]:.2f}" for kind in ("scoring", "training")]
            cells = f"{row['scoring']:.0f}", times[0], f"{row['training']:.0f}", times[1]
            shown.add_row(axis, str(row["value"]), *cells)
    powers = ", ".join(
        f"{axis} {own['scoring']:.2f} / {own['training']:.2f}" for axis, own in found["exponents"].items()
    )
    shown.caption = f"power that scoring / training grows with: {powers}; length: at {found['tokens']:,} tokens a batch"
    return shown


def step_table(found: dict[str, Any]) -> Table:
    """Milliseconds of a step."""
    shown = Table(title=f"A step over {found['tokens']:,} tokens, all layers trained")
    shown.add_column("adapter")
    shown.add_column("ms", justify="right")
    shown.add_column("times LoRA", justify="right")
    for name, ms in found["ms"].items():
        shown.add_row(name, f"{ms:.0f}", f"{ms / found['ms']['lora']:.2f}")
    rates = f"full: {found['gflops']:.0f} GFLOP/s, plain GEMMs of its shapes {found['gemm_gflops']:.0f}"
    shown.caption = f"peak memory {found['peak_memory_mib']:,} MiB; {rates}"
    return shown


def grid_table(found: dict[str, Any]) -> Table:
    """Seconds of the grid, each way."""
    shown = Table(title=f"A grid of {found['trials']} trials: {' '.join(found['grid'])}")
    shown.add_column("sweeper")
    for column in ("seconds", "times ours", "mean test accuracy, %", "peak memory of a process, MiB"):
        shown.add_column(column, justify="right")
    for name in GRIDS:
        seconds, accuracy = found["seconds"][name], found["mean_test_accuracy"][name]
        memory = f"{found['peak_memory_mib'][name]:,}"
        shown.add_row(
            name, f"{seconds:.1f}", f"{seconds / found['seconds'][GRIDS[0]]:.1f}", f"{100 * accuracy:.1f}", memory
        )
    shown.caption = (
        f"largest difference of a number of metrics.json from speed=plain: {found['largest_difference']:.2g}"
    )
    return shown


def pack_table(found: dict[str, Any]) -> Table:
    """Trials together and one by one."""
    shown = Table(title=f"{found['trials']} trials of one worker: {' '.join(found['grid'])}")
    for column in ("speed.prefix", "sweep.pack"):
        shown.add_column(column)
    for column in ("seconds", "CPU seconds", "times less", "peak memory, MiB", "largest difference"):
        shown.add_column(column, justify="right")
    for row in found["rows"]:
        first = next(iter(row["packs"].values()))
        for pack, own in row["packs"].items():
            times = f"{first['cpu_seconds'] / own['cpu_seconds']:.2f}"
            far = "" if own is first else f"{row['largest_difference']:.2g}"
            figures = f"{own['seconds']:.1f}", f"{own['cpu_seconds']:.1f}", times, f"{own['peak_memory_mib']:,}", far
            shown.add_row(row["store"], pack, *figures)
    return shown
