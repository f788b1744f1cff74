"""The notebooks run, on a tiny study, and are kept without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


def test_they_are_there() -> None:
    assert [p.stem for p in NOTEBOOKS] == ["1_quickstart", "2_reading_a_study", "3_error_analysis"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_outputs_are_stripped(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert all(cell.execution_count is None and cell.outputs == [] for cell in cells if cell.cell_type == "code")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs(path: Path, real: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY", "real")
    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(real.cwd)}}).execute()
    printed = [out for cell in book.cells if cell.cell_type == "code" for out in cell.outputs]
    assert printed
    assert not [out for out in printed if out.output_type == "error"]
