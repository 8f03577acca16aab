"""docs/troubleshooting.md holds the very lines that faults print: every one is provoked here."""

import errno
import re
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import jax.numpy as jnp
import pytest

from afnet_jax import compiler, gpu
from afnet_jax.commands import inspect, main, predict, prepare, train
from afnet_jax.commands.command_line import report_faults
from afnet_jax.datasets import digests
from afnet_jax.datasets.records import VERSION
from afnet_jax.landmarks import find_landmarks
from afnet_jax.models.pretrained import load_pretrained
from afnet_jax.preprocessing import preprocess
from afnet_jax.protocol import draw_folds
from afnet_jax.runs.folder import RunFolder
from afnet_jax.scans.database import OwnReader
from afnet_jax.scans.databases import read_scan
from tests.support import finished_run, hand_laid, mesh_files

PAGE = Path(__file__).parents[1] / "docs" / "troubleshooting.md"
PROVOKED: dict[str, Callable] = {}


def documented() -> list[str]:
    blocks = re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def provoked(function: Callable) -> Callable:
    """Enters a function that prints one line to stderr; it is given `call` of tests/support and a monkeypatch."""
    PROVOKED[function.__name__] = function
    return function


def command(name: str, body: Callable, *arguments: str) -> None:
    """Enters a call of a console command by wrong arguments, or by right ones where something else is wrong."""
    verb = body.__module__.split(".")[-1]

    def provoke(call, patch):
        done = call(body, *arguments)
        return done._replace(stderr=done.stderr.replace("see command --help", f"see afnet {verb} --help"))

    PROVOKED[name] = provoke


def raised(function: Callable, *arguments, **named) -> None:
    report_faults(lambda: function(*arguments, **named))


RUN = "--workdir=runs/bu3dfe"
PREPARE = ("--database=bu3dfe", "--raw=BU_3DFE", "--data_dir=data")
command("no such command", main.main, "trian")
command("an argument left out", train.main, "--config=bu3dfe")
command("no such argument", prepare.main, *PREPARE, "--worker=4")
command("no such config", train.main, "--config=configs/bu3df.py", RUN)
command("no such variant", train.main, "--config=bu3dfe:no_mask", RUN)
command("no such field", train.main, "--config=bu3dfe", RUN, "--config.train.epoch=20")
command("no value of the field", train.main, "--config=bu3dfe", RUN, "--config.train.epochs=many")
command("a value that cannot be run", train.main, "--config=bu3dfe", RUN, "--config.dataset.image_size=100")
command("nothing prepared", train.main, "--config=bu3dfe", RUN)
command("no such folder", prepare.main, *PREPARE)
command("no such database", prepare.main, "--database=frgc", "--raw=FRGC", "--data_dir=data")
command("no run", predict.main, "--workdir=runs/none", "face.obj")
command("no data set to look at", inspect.main, "--data_dir=data", "--out=page")


@provoked
def a_folder_without_scans(call, patch):
    Path("BU_3DFE").mkdir()
    return call(prepare.main, *PREPARE)


@provoked
def scans_of_another_database(call, patch):
    Path("BU_3DFE").mkdir()
    hand_laid.write_bosphorus(Path("BU_3DFE"), ["Nose tip"])
    return call(prepare.main, *PREPARE)


@provoked
def the_same_scan_twice(call, patch):
    for part in ("BU_3DFE/part1", "BU_3DFE/part2"):
        Path(part).mkdir(parents=True)
        hand_laid.write_bu3dfe(Path(part))
    return call(prepare.main, *PREPARE)


@provoked
def a_file_beside_the_scan_is_missing(call, patch):
    Path("F0007").mkdir()
    path = hand_laid.write_bu3dfe(Path("F0007"))
    path.with_suffix(".bmp").unlink()
    raised(read_scan, path)


@provoked
def a_file_cut_short(call, patch):
    Path("bs042").mkdir()
    path = hand_laid.write_bosphorus(Path("bs042"), ["Nose tip"])
    path.write_bytes(path.read_bytes()[:4000])
    raised(read_scan, path)


@provoked
def a_picture_of_a_mesh_is_missing(call, patch):
    path = mesh_files.write_obj(Path())
    Path("face.png").unlink()
    raised(read_scan, path)


@provoked
def landmarks_of_unknown_names(call, patch):
    path = mesh_files.write_obj(Path())
    Path("face.landmarks.json").write_text('{"pronasale": [0, 0, 60]}')
    raised(lambda: preprocess(read_scan(path)))


@provoked
def no_face_in_a_mesh(call, patch):
    raised(find_landmarks, read_scan(mesh_files.write_obj(Path())))


@provoked
def a_reader_that_lacks_a_part(call, patch):
    Path("my_faces.py").write_text('SUFFIXES = (".npy",)\n')
    raised(OwnReader, "my_faces.py")


@provoked
def fewer_subjects_than_asked_for(call, patch):
    raised(draw_folds, list("abcdefgh"), chosen=60, folds=10, rounds=1, seed=0)


@provoked
def fewer_subjects_than_folds(call, patch):
    raised(draw_folds, list("abcdefgh"), chosen=0, folds=10, rounds=1, seed=0)


@provoked
def two_runs_in_one_folder(call, patch):
    with RunFolder("runs/bu3dfe"):
        raised(RunFolder, "runs/bu3dfe")


@provoked
def other_settings_in_the_folder(call, patch):
    faces = finished_run.make_faces()
    finished_run.write_run(Path("runs/bu3dfe"), faces, finished_run.make_config())
    folds = draw_folds(sorted(set(faces.subjects)), chosen=0, folds=2, rounds=2, seed=0)
    with RunFolder("runs/bu3dfe") as folder:
        raised(folder.start, finished_run.make_config(**{"train.epochs": 20}), folds, faces.digest)


@provoked
def a_damaged_data_set(call, patch):
    folder = Path("data/bu3dfe", VERSION)
    folder.mkdir(parents=True)
    record = folder / "bu3dfe-faces.array_record-00000-of-00001"
    record.write_bytes(b"faces")
    digests.write_digests(folder, "source")
    record.write_bytes(b"faecs")
    raised(digests.verify, folder)


@provoked
def no_internet_for_the_weights(call, patch):
    def unreachable(*arguments):
        raise OSError("Network is unreachable")

    patch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *names: None)
    patch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    raised(load_pretrained, "imagenet")


@provoked
def a_gpu_that_jax_cannot_use(call, patch):
    patch.setattr(gpu, "_warned", False)
    patch.setattr(gpu, "_cuda_versions", lambda: ["13"])
    gpu._tell("it found none")


@provoked
def a_jaxlib_that_computes_wrong(call, patch):
    patch.setattr(compiler.jax.lib, "__version__", "0.10.2")
    patch.setattr(compiler.jnp, "sum", lambda values: 2 * jnp.add.reduce(values))
    raised(compiler.check_compiler)


@provoked
def a_full_disk(call, patch):
    def write():
        raise OSError(errno.ENOSPC, "No space left on device", "runs/bu3dfe/metrics.jsonl")

    raised(write)


@pytest.fixture
def line_of(call, tmp_path, monkeypatch, capsys):
    """name -> the line that a fault prints, with the folder, process and machine of the page's examples."""
    monkeypatch.chdir(tmp_path)

    def provoke(name: str) -> str:
        with monkeypatch.context() as patch:
            done = PROVOKED[name](call, patch)
        printed = (done.stderr if done else capsys.readouterr().err).splitlines()
        (line,) = (line for line in printed if line.startswith(("error: ", "warning: ")))
        return re.sub(r"process \d+ on \S+\)", "process 4321 on node7)", line.replace(str(tmp_path), "/home/me"))

    return provoke


@pytest.mark.parametrize("name", PROVOKED)
def test_the_page_has_the_line(name, line_of):
    assert line_of(name) in documented()


def test_the_page_has_no_other_line():
    assert len(documented()) == len(set(documented())) == len(PROVOKED) >= 20
