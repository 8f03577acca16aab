"""`~`, spaces and other scripts in every path that a user gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from afnet_jax.analysis import load_run
from afnet_jax.config import default_config
from afnet_jax.datasets.loading import load
from afnet_jax.datasets.preparation import prepare
from afnet_jax.datasets.records import VERSION
from afnet_jax.errors import AFNetError
from afnet_jax.models.pretrained import load_pretrained, save_ported
from afnet_jax.paths import user_path
from afnet_jax.protocol import read_splits
from afnet_jax.quality.inspection import inspect
from afnet_jax.runs.folder import RunFolder
from afnet_jax.scans import find_scans, read_scan
from afnet_jax.scans.databases import database_of
from afnet_jax.scans.scan_files import find_files
from afnet_jax.synthetic import write_people

ROOT = Path(__file__).parents[1]


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home folder with a difficult name; the current folder is another, empty one."""
    folder, elsewhere = tmp_path / "Größe und Ⅲ", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(elsewhere)
    return folder


def test_the_door(home):
    assert user_path("~") == home and user_path("~/a b/ü") == home / "a b" / "ü"
    assert user_path(Path("a/~/b")) == Path("a/~/b") and user_path("/x/~") == Path("/x/~")
    for wrong, told in {
        "a\udcc3\udca4": "set PYTHONUTF8=1",
        "~nobody-of-this-name/x": "home folder of this user is unknown",
        "": "a path is empty",
    }.items():
        with pytest.raises(AFNetError, match=told):
            user_path(wrong)


def of_the_data_set(path):
    config = default_config().dataset
    config.name, config.data_dir = "bosphorus", path
    return load(config)


@pytest.mark.parametrize(
    "call",
    [
        load_run,
        read_scan,
        load_pretrained,
        lambda path: database_of("own", path),
        of_the_data_set,
        lambda path: find_scans("bu3dfe", path),
        lambda path: prepare("bu3dfe", path, path),
        lambda path: save_ported(path, path),
    ],
)
def test_what_is_not_there_is_looked_for_at_home(call, home):
    with pytest.raises(AFNetError) as told:
        call("~/not there")
    assert str(home / "not there") in str(told.value)
    assert not list(Path().iterdir())


def test_files_that_are_there_are_found_at_home(home):
    (home / "splits.json").write_text('{"rounds": [[{"train": ["ä"], "test": ["b"]}]]}', encoding="utf-8")
    assert read_splits("~/splits.json")[0].train == ("ä",)
    (home / "sets" / "bu3dfe" / VERSION).mkdir(parents=True)
    with pytest.raises(AFNetError, match=str(home)):
        inspect("~/sets")


def test_what_is_written_goes_home(home):
    RunFolder("~/a run").close()
    write_people("~/people", database="bosphorus", subjects=1, seed=0, clean=True, workers=1)
    assert (home / "a run").is_dir() and (home / "people").is_dir()
    assert not list(Path().iterdir())
    assert all(path.is_relative_to(home / "people") for path in find_files(["~/people"]))


def call(*arguments, home: Path, **variables) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(home)} | variables
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, timeout=600, check=False, text=True
    )


@pytest.mark.slow
def test_config_and_workdir_of_the_main_command(home):
    (home / "my config.py").write_text(
        "from afnet_jax.config import default_config\ndef get_config(variant='afnet'): return default_config(variant)\n"
    )
    arguments = ["--workdir=~/run", "--config.dataset.name=bu3dfe", "--config.dataset.data_dir=~/data"]
    done = call("-m", "afnet_jax.main", "--config=~/my config.py:no_ma", *arguments, home=home)
    assert done.returncode == 1 and str(home / "data") in done.stderr and done.stderr.count("\n") == 1
    assert not list(Path().iterdir())


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_locale_without_letters(home):
    """Help and faults hold × and …, which ASCII has not."""
    for arguments in (["-m", "afnet_jax.main", "--help"], [str(ROOT / "tools" / "predict.py"), "--help"]):
        done = call(*arguments, home=home, **C_LOCALE)
        assert done.returncode == 0 and "Traceback" not in done.stderr
    code = "from afnet_jax.commands.command_line import report_faults; report_faults(lambda: print(chr(0x2026)))"
    assert call("-c", code, home=home, **C_LOCALE).stdout == "\\u2026\n"
    done = call(str(ROOT / "tools" / "inspect_dataset.py"), f"--data_dir={home}", "--out=x", home=home, **C_LOCALE)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "set PYTHONUTF8=1" in done.stderr
