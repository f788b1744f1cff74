"""The model card: its example runs with `transformers` alone, its licences are known or said not to be."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tinyrm.config import compose, config_dir
from tinyrm.config.schema import SourceConfig
from tinyrm.report.licences import BASES, DATA, UNCHECKED, UNKNOWN, base_licence, card_licence, data_licences
from tinyrm.serving.model import RewardModel

TULU, SKYWORK = "allenai/llama-3.1-tulu-3-8b-preference-mixture", "skywork/skywork-reward-preference-80k-v0.2"
ASKED = [("What is 2+2?", "It is 4.", "It is 5."), ("Hi", "[MASK] [SEP] x", "Hello. " * 40), ("é🤖", "", "a b c")]


@pytest.mark.parametrize("kind", ["objective=cloze", "objective=bradley_terry", "prompt=instruct"])
def test_the_example_needs_no_tinyrm_and_comes_to_the_same(kind: str, trained: Callable[[list[str]], Path]) -> None:
    run = trained([kind])
    code = re.findall(r"```python\n(.*?)```", (run / "model" / "merged" / "README.md").read_text(), flags=re.S)[0]
    assert "tinyrm" not in code.lower()
    code += "\nimport json, sys\nassert 'tinyrm' not in sys.modules"
    code += f"\nprint(json.dumps([log_odds(*texts) for texts in {ASKED!r}]))"
    place = run / "model" / "merged"
    done = subprocess.run([sys.executable, "-c", code], cwd=place, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    model = RewardModel.from_pretrained(run)
    assert found == pytest.approx([model.compare(*texts).log_odds for texts in ASKED], abs=1e-4)


def test_the_front_matter_is_what_the_hub_reads(cloze_run: Path) -> None:
    card = (cloze_run / "model" / "merged" / "README.md").read_text()
    head: dict[str, Any] = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "mit" and head["library_name"] == "transformers"
    assert "| TinyRM's synthetic suite | mit |" in card and "Limits:" in card


@pytest.mark.parametrize(
    ("overrides", "base", "data", "own"),
    [
        ([], "mit", {"TinyRM's synthetic suite": "mit"}, "mit"),
        (["model=minilm"], "apache-2.0", {"TinyRM's synthetic suite": "mit"}, "apache-2.0"),
        (["model=ettin_17m", "data=helpsteer3"], "mit", {"nvidia/HelpSteer3": "cc-by-4.0"}, "mit"),
        (["data=saferlhf"], "mit", {"PKU-Alignment/PKU-SafeRLHF": "cc-by-nc-4.0"}, "other"),
        (["data=tulu"], "mit", {"allenai/llama-3.1-tulu-3-8b-preference-mixture": DATA[TULU]}, "other"),
        (["data=skywork"], "mit", {"Skywork/Skywork-Reward-Preference-80K-v0.2": DATA[SKYWORK]}, "other"),
        (["model=deberta_v3_base"], UNCHECKED, {"TinyRM's synthetic suite": "mit"}, "other"),
        (["data=jsonl", "data.path=/home/me/secret/p.jsonl"], "mit", {"jsonl file p.jsonl": UNKNOWN}, "other"),
        (["model=local", "model.path=/home/me/m"], UNKNOWN, {"TinyRM's synthetic suite": "mit"}, "other"),
    ],
)
def test_licences(overrides: list[str], base: str, data: dict[str, str], own: str) -> None:
    config = compose(overrides)
    assert (base_licence(config.model), data_licences(config), card_licence(config)) == (base, data, own)


def test_a_mixture_names_each_source() -> None:
    config = compose([])
    config.data.mixture = [SourceConfig(reader="hub", path="Anthropic/hh-rlhf"), SourceConfig()]
    assert data_licences(config) == {"Anthropic/hh-rlhf": "mit", "TinyRM's synthetic suite": "mit"}


def test_every_base_and_data_set_that_a_choice_names_has_a_row() -> None:
    for group, known in (("model", BASES), ("data", DATA)):
        for choice in sorted((config_dir() / group).glob("*.yaml")):
            path = (yaml.safe_load(choice.read_text()) or {}).get("path")
            assert path is None or path.lower() in known, f"{group}={choice.stem}"
