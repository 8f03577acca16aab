"""Every command in README and docs does what the page says: run as it stands there, on a few synthetic subjects.

Left to others: what installs and lints (.ci/run), and the long tools, whose arguments alone are tried here and whose
work is tested in small beside them.
"""

import argparse
import json
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from afnet_jax.preprocessing import preprocess
from afnet_jax.scans.scan import EXPRESSION_CODES, EXPRESSIONS
from afnet_jax.synthetic import make_scan, write_people
from tests.support.forked_commands import CommandServer
from tests.support.mesh_files import write_coloured_obj
from tests.support.torchvision_weights import torchvision_tensors

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))
OF_CI = ("pip ", "pytest", "ruff ", "mypy ", "bash .ci/run", "python -m tests.parity.make_golden")
SMALL = {
    "dataset.image_size": 32,
    "dataset.synthetic_subjects": 2,
    "protocol.subjects": 0,
    "protocol.folds": 2,
    "protocol.rounds": 1,
    "train.epochs": 1,
    "train.batch_size": 4,
    "model.pretrained": "none",
}
OVERRIDES = [f"--config.{name}={value}" for name, value in SMALL.items()]


def with_overrides(words: list[str]) -> list[str]:
    """A command, small; weights that it names itself are those that it starts from."""
    names_some = any(word.startswith("--config.model.pretrained=") for word in words)
    return words + [word for word in OVERRIDES if not (names_some and "pretrained" in word)]


def commands(page: str) -> list[str]:
    """Returns every line of a page's shell blocks, and every call of a program of the project within its text."""
    text = (ROOT / page).read_text()
    blocks = "\n".join(re.findall(r"```(?:ba)?sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    lines = [re.sub(r"\s+#.*|^#.*", "", line).strip() for line in blocks.splitlines()]
    inline = re.findall(r"`((?:python )?tools/\w+\.py [^`]+|python -m [^`]+|afnet [a-z-]+ --[^`]+)`", text)
    return [" ".join(command.split()) for command in (*lines, *inline) if command]


def in_workplace(command: str, place: Path) -> list[str]:
    """A command after "python", with those of the workplace in place of the user's own things."""
    (scan,) = (place / "raw").glob("F0001/F0001_AN03??_F3D.wrl")
    for word, stand_in in {
        "srun ": "",
        "coordinator=auto": "coordinator=",
        "coordinator=HOST:PORT --config.distributed.processes=2": "coordinator=",
        "/data/BU_3DFE": "raw",
        "/data/Bosphorus": "raw_bosphorus",
        "=RUN": "=runs/afnet",
        "=runs/synthetic": "=runs/afnet",
        "export --workdir=runs/pretrain": "export --workdir=runs/afnet",
        "SCAN…": str(scan),
        "bs000_E_ANGER_0.bnt FOLDER": f"{scan} {scan.parent}",
        "=FOLDER": "=own_raw",
        "=MESHES": "=meshes",
        "NEW_SCANS": "own_raw/anna",
        "--data_dir=DIR --out=DIR": "--data_dir=data --database=bu3dfe --out=page",
        "=DIR": "=folder",
        "--data_dir=data --out=inspection": "--data_dir=data --database=own --out=inspection",
        "configs/X.py": "configs/bu3dfe.py",
        "--config=X": "--config=bu3dfe",
    }.items():
        command = command.replace(word, stand_in)
    return shlex.split(re.sub("^afnet ", "-m afnet_jax.commands.main ", command.removeprefix("python ")))


def settings_of(words: list[str]) -> list[str] | None:
    """The arguments of a command that trains, without its folder and its processes; None for any other command."""
    calls = (["-m", "afnet_jax.main"], ["-m", "afnet_jax.commands.main", "train"])
    call = next((call for call in calls if words[: len(call)] == call), None)
    if call is None or "--help" in words:
        return None
    shipped = [re.sub(r"^--config=configs/(\w+)\.py", r"--config=\1", word) for word in words[len(call) :]]
    return [word for word in shipped if not re.match("--workdir=|--config.distributed", word)]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[CommandServer]:
    place = tmp_path_factory.mktemp("user")
    compiled = {"JAX_COMPILATION_CACHE_DIR": str(place / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    with CommandServer(place, {"PYTHONPATH": str(ROOT), **compiled}) as server:
        yield server


@pytest.fixture(scope="module")
def workplace(server) -> Path:
    """A user's folder: the project's files, raw scans of two people, weights, faces of one's own, and a trained run."""
    place = server.place
    for name in ("configs", "tools", "benchmarks"):
        (place / name).symlink_to(ROOT / name)
    write_people(place / "raw", database="bu3dfe", subjects=2, seed=0, levels=(3,), workers=1)
    safetensors.numpy.save_file(torchvision_tensors(), place / "resnet18.safetensors")
    write_own_faces(place / "own_raw")
    write_coloured_obj(place / "face.obj", make_scan(0, "HA", 3, database="bu3dfe", seed=1)[0])
    write_named_meshes(place / "meshes", place / "face.obj")
    for page, file in (("own_data.md", "my_faces.py"), ("settings.md", "my_config.py")):
        (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
        (place / file).write_text(code)
    run(["tools/prepare_dataset.py", "--database=bu3dfe", "--raw=raw", "--data_dir=data"], server)
    run(["-m", "afnet_jax.main", "--config=configs/bu3dfe.py", "--workdir=runs/afnet", *OVERRIDES], server)
    (place / "runs" / "own").symlink_to("afnet")
    (place / "runs" / "bu3dfe").symlink_to("afnet")
    shutil.copytree(place / "runs" / "afnet", place / "runs" / "bosphorus")
    write_people(place / "raw_bosphorus", database="bosphorus", subjects=2, seed=0, workers=1)
    run(["tools/prepare_dataset.py", "--database=bosphorus", "--raw=raw_bosphorus", "--data_dir=data"], server)
    return place


def write_own_faces(folder: Path) -> None:
    """One face under the names of two people and six expressions, in the files that docs/own_data.md describes."""
    maps = preprocess(make_scan(0, "HA", 3, database="bu3dfe", seed=1)[0])
    (left, top), step = maps.origin, maps.mm_per_pixel
    places = {name: ((x - left) / step, (top - y) / step) for name, (x, y, _) in maps.landmarks.items()}
    seen = {n: (c, r) for n, (c, r) in places.items() if maps.valid[int(r), int(c)] and "mouth" not in n}
    for person in ("anna", "bert"):
        (folder / person).mkdir(parents=True)
        for code in EXPRESSION_CODES:
            stem = folder / person / f"{person}_{code}_1"
            np.save(stem.with_suffix(".npy"), maps.depth)
            Image.fromarray(maps.texture).save(stem.with_suffix(".png"))
            stem.with_suffix(".json").write_text(json.dumps({"mm_per_pixel": step, "landmarks": seen}))


def write_named_meshes(folder: Path, face: Path) -> None:
    """One mesh with its landmarks under the names of two people and six expressions."""
    folder.mkdir()
    for person in ("anna", "bert"):
        for word in EXPRESSIONS:
            for file in (face, face.with_suffix(".landmarks.json")):
                (folder / f"{person}_{word}{file.name.removeprefix(face.stem)}").symlink_to(file)


def run(words: list[str], server: CommandServer) -> None:
    done = server.run(words)
    assert done.returncode == 0, (words, done.stdout[-500:], done.stderr[-1500:])


def parse(words: list[str], place: Path, monkeypatch) -> None:
    """A tool's own reading of its arguments, and no more of it."""

    class Parsed(BaseException):
        pass

    def parse_args(parser, *args):
        found = original(parser, *args)
        raise Parsed(found)

    original = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    monkeypatch.setattr(sys, "argv", words[words[0] == "-m" :])
    with pytest.raises(Parsed):
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__")
        else:
            runpy.run_path(str(place / words[0]), run_name="__main__")


@pytest.fixture(scope="module")
def done() -> list[list[str]]:
    """Commands that a page before has had: settings of trainings, and whole commands of others."""
    return [["--config=bu3dfe"]]  # the workplace's own run


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_commands_run(page, workplace, server, done, monkeypatch):
    for number, command in enumerate(commands(page)):
        if command.startswith(OF_CI):
            continue
        words = in_workplace(command, workplace)
        if words[0] == "tools/train_landmarks.py" or (words[0] == "-m" and words[1].split(".")[0] == "benchmarks"):
            with monkeypatch.context() as patch:
                parse(words, workplace, patch)
        elif (settings := settings_of(words)) is not None:
            if settings in done:
                continue
            done.append(settings)
            folder = f"runs/{Path(page).stem}-{number}"
            words = [re.sub("--workdir=.*", f"--workdir={folder}", word) for word in words]
            run(with_overrides(words), server)
            assert json.loads((workplace / folder / "summary.json").read_text())["complete"], command
        elif words not in done:
            of_paper = "reproduce" in words or words[0] == "tools/reproduce_paper.py"
            if of_paper and any("reproduce" in each for each in done):  # in another folder
                continue
            done.append(words)
            run([*words, "--variants=afnet", *OVERRIDES] if of_paper else words, server)


def test_no_page_is_read_past():
    assert len(commands("README.md")) > 10 and len(commands("docs/own_data.md")) == 8
    assert sum(map(len, map(commands, PAGES))) > 25
