"""`tinyrm report` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinyrm.cli import main


def test_each_format(
    real: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(real.cwd)
    assert main(["report", "real", "--format", "json"]) == 0
    assert f"written to: {real.folder / 'report.json'}" in capsys.readouterr().out
    plain = json.loads((real.folder / "report.json").read_text())
    assert plain["version"] == 1 and len(plain["trials"]) == 4
    assert main(["report", "real", "--format", "md", "--out", str(tmp_path / "r.md")]) == 0
    assert "| 1 | rank=" in (tmp_path / "r.md").read_text()
    assert main(["report", "real", "--out", str(tmp_path / "r.html")]) == 0
    page = (tmp_path / "r.html").read_text()
    assert page.count("http://www.w3.org") >= 0 and 'src="http' not in page and 'href="http' not in page
    assert len(page) < 2_000_000


def test_pictures(build: Any, tmp_path: Path) -> None:
    url = build.study(tmp_path, [build.trial({"freeze": f}, dev=0.5 + f / 10) for f in (0, 1)])
    assert main(["report", "made", "--storage", url, "--format", "png", "--out", str(tmp_path / "png")]) == 0
    files = {p.name for p in (tmp_path / "png").glob("*")}
    assert {"ranking.png", "matrix.png", "sections.png"} <= files
    assert all((tmp_path / "png" / name).read_bytes().startswith(b"\x89PNG") for name in files)


def test_what_is_wrong_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEP_STORAGE", raising=False)
    assert main(["report", "x", "--format", "pdf"]) == 2
    assert "--format pdf is not known" in capsys.readouterr().err
    assert main(["report", "x"]) == 2
    assert "no sweep has run" in capsys.readouterr().err
