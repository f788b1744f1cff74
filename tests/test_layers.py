"""Imports go to the left: config -> data -> prompting -> model -> training -> evaluation -> sweep -> report.

Every import counts, also those inside functions and under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "tinyrm"
LAYERS = ["config", "data", "prompting", "model", "training", "evaluation", "sweep", "report"]
LEAVES = {"errors", "types", "provenance", "files", "masking"}  # may use each other, no layer
ABOVE = {
    "contents",
    "tracking",
    "experiment",
    "planning",
    "pretraining",
    "reproducing",
    "studies",
    "reuse",
    "runs",
    "serving",
    "cli",
    "trial",
    "warmup",
    "warmup_store",
    "__init__",
    "__main__",
}  # use any
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """'tinyrm.model.net' -> 'model'; 'tinyrm' itself is its __init__."""
    return module.split(".")[1] if "." in module else "__init__"


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, is_package: bool) -> set[str]:
    """Full names of the modules of TinyRM that `source` imports, wherever the statement stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            # `from tinyrm import data` names a layer only in its second half.
            found |= {f"{base}.{alias.name}" for alias in node.names} if base == "tinyrm" else {base}
    return {name for name in found if name.split(".")[0] == "tinyrm"}


def allowed(part: str) -> set[str]:
    """The parts that a part may import."""
    if part in ABOVE:
        return {*ABOVE, *LAYERS, *LEAVES}
    if part in LEAVES:
        return LEAVES
    return {*LEAVES, *LAYERS[: LAYERS.index(part) + 1]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_to_the_left(path: Path) -> None:
    module = name_of(path)
    part = part_of(module)
    assert part in {*ABOVE, *LAYERS, *LEAVES}, f"{part} has no place: give it one in tests/test_layers.py"
    used = imports(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
    wrong = sorted(name for name in used if part_of(name) not in allowed(part))
    assert wrong == []


def test_config_imports_no_other_layer() -> None:
    assert allowed("config") == {"config", *LEAVES}


def test_the_reader_sees_every_kind_of_import() -> None:
    source = """
from __future__ import annotations
import tinyrm.report.card as card
from typing import TYPE_CHECKING
from tinyrm import sweep
if TYPE_CHECKING:
    from tinyrm.training import fit
def late():
    from tinyrm.evaluation.metrics import accuracy
    from ..model import net
    from . import tokens
"""
    assert imports(source, "tinyrm.prompting.encoding", is_package=False) == {
        "tinyrm.report.card",
        "tinyrm.sweep",
        "tinyrm.training",
        "tinyrm.evaluation.metrics",
        "tinyrm.model",
        "tinyrm.prompting",
    }
    assert imports("from .net import x", "tinyrm.model", is_package=True) == {"tinyrm.model.net"}


def test_the_package_was_found() -> None:
    assert {part_of(name_of(path)) for path in FILES} >= {"config", "data", "prompting", "model", "errors", "cli"}
