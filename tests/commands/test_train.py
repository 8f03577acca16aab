"""The command as its users call it: help, wrong arguments, faults; one line each, and the right exit status."""

import subprocess
import sys
from pathlib import Path

import pytest

from afnet_jax.commands.train import main

ROOT = Path(__file__).parents[2]


def test_help_lists_every_setting():
    command = [sys.executable, "-m", "afnet_jax.main", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0
    for expected in ("--workdir", "--mode", "--config.train.learning_rate", "--config.protocol.rounds"):
        assert expected in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--config=… and --workdir=… must be given"),
        (("--config=configs/synthetic.py",), "--workdir=… must be given"),
        (("--config=configs/none.py", "--workdir=w"), "no such file"),
        (("--config=configs/synthetic.py:afnett", "--workdir=w"), "'afnett' is unknown; expected one of afnet"),
        (
            ("--config=configs/synthetic.py", "--workdir=w", "--config.train.epoch=3"),
            "did you mean --config.train.epochs",
        ),
        (
            ("--config=configs/synthetic.py", "--workdir=w", "--config.train.checkpoint_every=5"),
            "--config.train.checkpoint_minutes took its place",
        ),
        (
            ("--config=configs/synthetic.py", "--workdir=w", "--config.train.epochs=many"),
            "--config.train.epochs=many: expected a whole number",
        ),
        (
            ("--config=configs/synthetic.py", "--workdir=w", "--config.variant=no_ma"),
            "after a colon, --config=NAME:VARIANT",
        ),
        (
            ("--config=configs/synthetic.py", "--workdir=w", "--mode=test"),
            "--mode: expected one of train, evaluate, found 'test'",
        ),
        (("--config=configs/synthetic.py", "--workdir=w", "--speed=2"), "--speed: no such argument"),
        (("--config=configs/synthetic.py", "--workdir=w", "stray"), "unexpected argument 'stray'"),
    ],
)
def test_wrong_arguments(arguments, told, call, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = call(main, *arguments)
    assert done.returncode == 2
    assert told in done.stderr and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--config.train.epochs=0",), "config.train.epochs: expected a positive whole number, found 0"),
        (("--config.dataset.image_size=100",), "config.dataset.image_size: expected a multiple of 32"),
        (("--config.model.fusion_stages=(3,)",), "model.fusion_stages"),
        (("--config.train.folds_per_group=few",), "config.train.folds_per_group"),
        (("--config.train.checkpoint_minutes=0",), "config.train.checkpoint_minutes: expected a positive number"),
        (("--config.seed=-1",), "config.seed: expected a whole number from 0 to 4294967295, found -1"),
        (("--config.seed=4294967296",), "config.seed: expected a whole number from 0 to 4294967295"),
        (("--config.train.beta2=1.0",), "config.train.beta2: expected a share"),
        (("--config.train.learning_rate=inf",), "config.train.learning_rate: expected a positive number, found inf"),
        (("--config.train.folds_per_group=²",), 'config.train.folds_per_group: expected "auto" or a positive number'),
        (("--config.dataset.levels=x",), "config.dataset.levels: expected whole numbers of at least 1"),
        (("--config.protocol.subjects=-1",), "config.protocol.subjects: expected 0 or more, found -1"),
        (("--config.dataset.name=bu3dfe",), "afnet prepare"),
        (("--config.dataset.name=../ck",), "config.dataset.name: expected one of"),
    ],
)
def test_faults(arguments, told, tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = f"--config={ROOT / 'configs' / 'synthetic.py'}"
    done = call(main, config, f"--workdir={tmp_path / 'run'}", *arguments)
    assert done.returncode == 1
    assert told in done.stderr and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
