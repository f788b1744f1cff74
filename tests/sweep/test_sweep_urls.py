"""`sweep.storage`: which file or server a URL means, and that no password is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from tinyrm.sweep import SweepError
from tinyrm.sweep.errors import StorageUnavailableError
from tinyrm.sweep.storage import mask, open_storage

SECRETS = {
    "postgresql://u:hunter2@h:5432/db": "postgresql://u:***@h:5432/db",
    "postgresql+psycopg://u:hunter2@h/db?sslmode=require": "postgresql+psycopg://u:***@h/db?sslmode=require",
    "postgresql://h/db?user=u&password=hunter2": "postgresql://h/db?user=u",
    "postgresql://u@h/db?sslpassword=hunter2&sslmode=require": "postgresql://u@h/db?sslmode=require",
    "postgresql://u:hunter2/db": "postgresql://...",
}


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
@pytest.mark.parametrize("name", ["plain", "w#1", "w?q", "w%41", "w 1", "ü", "a&b=c", "{x}"])
def test_a_file_lies_where_its_url_says(tmp_path: Path, kind: str, name: str) -> None:
    url = f"{kind}:///{tmp_path}/{name}/s.db"
    optuna.create_study(study_name="s", storage=open_storage(url).optuna)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert "s.db" in {p.name for p in (tmp_path / name).iterdir()}
    again = open_storage(url, create=False)
    assert [s.study_name for s in again.optuna.get_all_studies()] == ["s"]
    assert again.label == url


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("sqlite://multirun/s.db", r"lacks a slash: sqlite:///multirun/s\.db, or sqlite:////multirun/s\.db for an abs"),
        ("journal://s.log", r"lacks a slash: journal:///s\.log"),
        ("postgresql://u@h:54x/db", r"sweep\.storage=postgresql://\.\.\. is malformed: .*, a number for PORT"),
        ("postgresql://u:hunter2/db", r"sweep\.storage=postgresql://\.\.\. is malformed"),
        ("postgres://u:hunter2@h/db", r"postgres://\.\.\. is no storage\. Did you mean 'postgresql'"),
        ("mysql://u:hunter2@h/db", r"mysql://\.\.\. is no storage\."),
        ("sqlite://", "is no storage"),
    ],
)
def test_a_malformed_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Any, url: str, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for act in (lambda: open_storage(url), lambda: engine.sweep(len, "x=1,2", name="s", storage=f"'{url}'")):
        with pytest.raises(SweepError, match=complaint) as caught:
            act()
        assert not isinstance(caught.value, StorageUnavailableError)  # nothing to wait for
        assert "hunter2" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", SECRETS)
def test_no_message_shows_a_password(url: str) -> None:
    assert mask(url) == SECRETS[url]


HIDDEN = [
    ("${oc.env:SWEEP_URL}", {"SWEEP_URL": "postgresql://u:hunter2@127.0.0.1:1/db"}),
    ("postgresql://u:${oc.env:SWEEP_PW}@127.0.0.1:1/db", {"SWEEP_PW": "hunter2"}),
    ("postgresql://127.0.0.1:1/db?user=u&password=${oc.env:SWEEP_PW}", {"SWEEP_PW": "hunter2"}),
]
WRITTEN = [
    ("postgresql://u:hunter2@127.0.0.1:1/db", {}),
    ("postgresql://u:hunter2@${oc.env:SWEEP_HOST}:1/db", {"SWEEP_HOST": "127.0.0.1"}),
    ("postgresql://u:hunter2@127.0.0.1:1/${oc.env:SWEEP_DB}", {"SWEEP_DB": "db"}),
    ("postgresql://127.0.0.1:1/db?user=u&password=hunter2", {}),
    ("postgresql://${oc.env:SWEEP_HOST}:1/db?password=hunter2&user=u", {"SWEEP_HOST": "127.0.0.1"}),
]


@pytest.mark.parametrize(("url", "variables"), [*HIDDEN, *WRITTEN], ids=str)
def test_a_password_in_the_config_is_refused(
    engine: Any, monkeypatch: pytest.MonkeyPatch, url: str, variables: dict[str, str]
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    written = (url, variables) in WRITTEN
    complaint = "holds a password, which every trial's config would show" if written else "cannot open sweep.storage="
    with pytest.raises(SweepError, match=complaint) as caught:  # nobody answers at that port
        engine.sweep(len, "x=1,2", name="s", storage=f"'{url}'")
    assert isinstance(caught.value, StorageUnavailableError) != written
    assert "hunter2" not in str(caught.value)
    assert not engine.folder.exists()


@pytest.mark.parametrize("launcher", ["local", "basic"])
def test_workers_find_it_from_their_own_folders(toy: Any, launcher: str) -> None:
    settings = ("hydra.sweeper.settings.name=s", "hydra.sweeper.settings.storage_patience_s=2")
    code, output = toy.run("hydra.job.chdir=true", f"hydra/launcher={launcher}", *settings, "x=1,2", "seconds=0.1")
    assert code == 0, output
    assert (toy.folder / "multirun" / "sweeps.db").is_file()
    assert sum(toy.noted("end").values()) == 2
