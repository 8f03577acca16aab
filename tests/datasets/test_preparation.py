import concurrent.futures
import csv
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from afnet_jax.commands.prepare import main
from afnet_jax.config import default_config
from afnet_jax.datasets import digests, preparation
from afnet_jax.datasets.builder import SPLIT
from afnet_jax.datasets.loading import load
from afnet_jax.datasets.preparation import prepare
from afnet_jax.datasets.records import VERSION
from afnet_jax.errors import DatasetError
from afnet_jax.file_lock import write_lock
from afnet_jax.quality.inspection import inspect
from afnet_jax.scans import ScanError, find_scans, read_scan
from afnet_jax.workers import WorkerKilled
from tests.support.calls import until_told
from tests.support.one_thread import one_thread
from tests.support.quick_preprocessing import killed_maps, picky_maps, quick_maps

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "prepare_dataset.py"


def examples(folder):
    return list(tfds.builder_from_directory(folder).as_data_source(split=SPLIT))


def rejected(data_dir):
    with open(data_dir / "rejected.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_prepares_all_scans_whatever_the_number_of_workers(raw, tmp_path):
    one = prepare("bu3dfe", raw, tmp_path / "one", workers=1, preprocess=quick_maps)
    two = prepare("bu3dfe", raw, tmp_path / "two", workers=2, preprocess=quick_maps)
    assert (one.prepared, one.rejected, two.prepared) == (12, (), 12)
    scans = find_scans("bu3dfe", raw)
    for (scan_id, path), first, second in zip(scans, examples(one.folder), examples(two.folder), strict=True):
        assert first["scan_id"].decode() == second["scan_id"].decode() == scan_id.name
        np.testing.assert_array_equal(first["depth"], quick_maps(read_scan(path)).depth)
        np.testing.assert_array_equal(first["depth"], second["depth"])
    digests.verify(one.folder)
    assert rejected(tmp_path / "one") == [] and not (tmp_path / "one" / ".finished").exists()


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """Which files of a data set were written when: the same as before where nothing was prepared."""
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.iterdir()}


def test_prepared_scans_are_not_prepared_again(raw, tmp_path):
    first = prepare("bu3dfe", raw, tmp_path / "data", workers=1, preprocess=quick_maps)
    before = written(first.folder)
    assert prepare("bu3dfe", raw, tmp_path / "data", workers=1, preprocess=quick_maps) == first
    assert written(first.folder) == before


@pytest.mark.slow
def test_a_docstring_costs_no_preparing_and_code_does(raw, tmp_path, monkeypatch):
    first = prepare("bu3dfe", raw, tmp_path / "data", workers=1, preprocess=quick_maps)
    read, before = Path.read_bytes, written(first.folder)
    for old, new, same in (
        (b"83 landmarks (Yin et al., FG 2006)", b"landmarks", True),
        (b'("contour_7",)', b'("contour_6",)', False),  # the chin's place
    ):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", lambda p, o=old, n=new: read(p).replace(o, n))
            assert prepare("bu3dfe", raw, tmp_path / "data", workers=1, preprocess=quick_maps) == first
        assert (written(first.folder) == before) == same


@pytest.mark.slow
def test_changed_scans_and_damaged_data_sets_are_prepared_again(raw, tmp_path):
    first = prepare("bu3dfe", raw, tmp_path / "data", workers=1, preprocess=quick_maps)
    record = next(first.folder.glob("*.array_record*"))
    data = bytearray(record.read_bytes())
    data[len(data) // 2] ^= 1
    record.write_bytes(data)
    with pytest.raises(DatasetError, match="damaged"):
        digests.verify(first.folder)
    prepare("bu3dfe", raw, tmp_path / "data", workers=1, preprocess=quick_maps)
    digests.verify(first.folder)
    for path in raw.rglob("F0001_AN*"):
        path.unlink()
    assert prepare("bu3dfe", raw, tmp_path / "data", workers=1, preprocess=quick_maps).prepared == 10
    assert len(examples(first.folder)) == 10


def test_goes_on_past_bad_scans_and_does_only_those_again(raw_bosphorus, tmp_path):
    data_dir = tmp_path / "data"
    broken = raw_bosphorus / "bs000" / "bs000_E_HAPPY_0.bnt"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-8])
    done = prepare("bosphorus", raw_bosphorus, data_dir, workers=2, preprocess=picky_maps)
    assert done.prepared == 3 == len(examples(done.folder))
    rows = rejected(data_dir)
    assert [row["scan"] for row in rows] == ["bs000_E_ANGER_0", "bs000_E_FEAR_0", "bs000_E_HAPPY_0"]
    assert rows[0]["reason"] == "no nose in sight"
    assert rows[1]["reason"] == "unexpected ZeroDivisionError: division by zero"
    assert rows[2]["file"] == str(broken) and "cut short" in rows[2]["reason"]
    digests.verify(done.folder)

    finished = {path.name: path.stat().st_mtime_ns for path in (data_dir / ".finished" / "bosphorus").iterdir()}
    broken.write_bytes(whole)
    again = prepare("bosphorus", raw_bosphorus, data_dir, workers=1, preprocess=picky_maps)
    assert again.prepared == 4 and len(rejected(data_dir)) == 2
    kept = {path.name: path.stat().st_mtime_ns for path in (data_dir / ".finished" / "bosphorus").iterdir()}
    assert finished.items() < kept.items()


def test_only_what_is_new_is_prepared(raw, tmp_path, monkeypatch):
    apart = tmp_path / "later"
    apart.mkdir()
    later = sorted(raw.rglob("F0001_AN*"))
    places = {path: apart / path.name for path in later}
    for path, place in places.items():
        shutil.move(path, place)
    assert prepare("bu3dfe", raw, tmp_path / "data", workers=1, preprocess=quick_maps).prepared == 10
    for path, place in places.items():
        shutil.move(place, path)
    made = []
    finish = preparation._finish
    monkeypatch.setattr(preparation, "_finish", lambda job, **how: made.append(job.id.name) or finish(job, **how))
    monkeypatch.setattr(preparation, "worker_processes", one_thread)
    done = prepare("bu3dfe", raw, tmp_path / "data", preprocess=quick_maps)
    assert done.prepared == 12 == len(examples(done.folder)) and len(made) == 2
    assert {name[:8] for name in made} == {"F0001_AN"}


def test_stopped_while_the_new_set_replaces_the_old_one_nothing_is_lost(raw, tmp_path, monkeypatch):
    parts = [tmp_path / "first", tmp_path / "second"]
    for level, part in zip((3, 4), parts, strict=True):
        part.mkdir()
        for path in raw.rglob(f"F0001_??{level:02d}*"):
            shutil.copy(path, part)
    prepare("bu3dfe", parts[0], tmp_path / "data", workers=1, preprocess=quick_maps)
    replace = os.replace

    def stopped(source, target):
        if Path(source).parent.parent.name.endswith(".writing"):
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", stopped)
        prepare("bu3dfe", parts[1], tmp_path / "data", workers=1, preprocess=quick_maps)
    done = prepare("bu3dfe", parts[1], tmp_path / "data", workers=1, preprocess=quick_maps)
    assert (done.prepared, done.kept) == (6, 6) and len(examples(done.folder)) == 12


def test_a_list_of_rejected_scans_is_brought_up_to_date_though_nothing_else_is(raw_bosphorus, tmp_path):
    bad = raw_bosphorus / "bs000" / "bs000_E_HAPPY_0.bnt"
    bad.write_bytes(bad.read_bytes()[:-8])
    prepare("bosphorus", raw_bosphorus, tmp_path / "data", workers=1, preprocess=quick_maps)
    assert len(rejected(tmp_path / "data")) == 1
    for path in bad.parent.glob(f"{bad.stem}*"):
        path.unlink()
    prepare("bosphorus", raw_bosphorus, tmp_path / "data", workers=1, preprocess=quick_maps)
    assert rejected(tmp_path / "data") == [] and not (tmp_path / "data" / ".finished").exists()


def test_refuses_when_nothing_is_left(raw_bosphorus, tmp_path):
    for path in raw_bosphorus.rglob("*.png"):
        path.unlink()
    with pytest.raises(DatasetError, match=r"none of the 6 scans could be prepared; see .*rejected.csv"):
        prepare("bosphorus", raw_bosphorus, tmp_path / "data", workers=1, preprocess=quick_maps)
    assert all("is missing; put it beside" in row["reason"] for row in rejected(tmp_path / "data"))


def test_refuses_a_folder_without_scans(tmp_path):
    with pytest.raises(ScanError, match="no such folder"):
        prepare("bu3dfe", tmp_path / "none", tmp_path / "data", preprocess=quick_maps)
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_says_what_to_do_when_a_worker_is_killed(raw, tmp_path):
    with pytest.raises(WorkerKilled, match="run again with fewer workers"):
        prepare("bu3dfe", raw, tmp_path / "data", workers=2, preprocess=killed_maps)
    assert prepare("bu3dfe", raw, tmp_path / "data", workers=2, preprocess=quick_maps).prepared == 12


def test_workers_import_neither_jax_nor_tfds():
    code = "import sys, afnet_jax.datasets.preparation; assert not {'jax', 'tensorflow_datasets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


INTERRUPTED = """
import signal, sys; sys.path.insert(0, {root!r})
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
from afnet_jax.datasets.preparation import prepare
from afnet_jax.workers import WorkerKilled
from tests.support.quick_preprocessing import slow_maps
if __name__ == "__main__":
    prepare("bu3dfe", {raw!r}, {data!r}, workers=2, preprocess=slow_maps)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_goes_on_where_it_was_stopped(raw, tmp_path, how):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED.format(root=str(ROOT), raw=str(raw), data=str(tmp_path / "data")))
    finished = tmp_path / "data" / ".finished" / "bu3dfe"
    first = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, start_new_session=True, text=True)
    deadline = time.monotonic() + 60
    while len(list(finished.glob("*.npz"))) < 3:
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.02)
    if how == signal.SIGINT:
        os.killpg(first.pid, how)  # as a terminal's Ctrl-C does
    else:
        first.kill()
    error = first.communicate(timeout=600)[1]
    assert how == signal.SIGKILL or error.count("KeyboardInterrupt") == 1  # the parent's alone
    deadline = time.monotonic() + 20
    while _alive(first.pid):  # no orphans are left behind
        assert time.monotonic() < deadline
        time.sleep(0.05)
    kept = {path.name: path.stat().st_mtime_ns for path in finished.glob("*.npz")}
    assert 3 <= len(kept) < 12
    subprocess.run([sys.executable, script], check=True, timeout=600, capture_output=True)
    assert len(examples(tmp_path / "data" / "bu3dfe" / VERSION)) == 12


@pytest.mark.slow
@pytest.mark.parametrize("end", ["finishes", "is killed"])
def test_of_two_at_once_the_second_waits_and_takes_what_is_there(raw, tmp_path, end):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED.format(root=str(ROOT), raw=str(raw), data=str(tmp_path / "data")))
    finished = tmp_path / "data" / ".finished" / "bu3dfe"
    start = lambda: subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True)  # noqa: E731
    first = start()
    deadline = time.monotonic() + 60
    while not list(finished.glob("*.npz")):
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.02)
    second = start()
    line = second.stderr.readline()
    assert line.startswith(f"{tmp_path / 'data' / 'bu3dfe'}: the data set is being prepared by process {first.pid} ")
    assert line.endswith("; waiting for it\n")
    if end == "is killed":
        first.kill()
    errors = [process.communicate(timeout=600)[1] for process in (first, second)]
    assert second.returncode == 0 and "Traceback" not in errors[1]
    assert ("preparing scans" in errors[1]) == (end == "is killed")  # otherwise there was nothing left to do
    assert end == "is killed" or (first.returncode == 0 and "Traceback" not in errors[0])
    folder = tmp_path / "data" / "bu3dfe" / VERSION
    digests.verify(folder)
    assert len(examples(folder)) == 12


@pytest.mark.slow
def test_loading_waits_for_preparing(raw, tmp_path, capsys):
    prepare("bu3dfe", raw, tmp_path, workers=1, preprocess=quick_maps)
    settings = default_config().dataset
    with settings.unlocked():
        settings.update(name="bu3dfe", data_dir=str(tmp_path))
    capsys.readouterr()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        with write_lock(tmp_path / ".bu3dfe.lock", "preparing again"):
            loading = executor.submit(load, settings)
            told = until_told(capsys)
            assert not loading.done()
        assert len(loading.result(timeout=600).labels) == 12
    (line,) = told.splitlines()
    assert line.endswith("; waiting for it")
    assert line.startswith(f"{tmp_path / 'bu3dfe'}: the data set is being prepared by process {os.getpid()} on ")


def _alive(session: int) -> bool:
    """Whether a process of the session is left."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            return True
    return False


def run_tool(*arguments):
    return subprocess.run([sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True, timeout=600)


def test_command_line_tells_its_faults_in_one_line(call, tmp_path):
    done = call(main, "--database=bu3dfe", f"--raw={tmp_path / 'none'}", f"--data_dir={tmp_path / 'data'}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_command_line_prepares_samples_and_lists_the_bad_ones(samples, tmp_path):
    raw, data_dir = tmp_path / "raw", tmp_path / "data"
    source = sorted((samples / "bosphorus").glob("*/"))[0]
    shutil.copytree(source, raw / source.name)
    bad = raw / source.name / f"{source.name}_E_ANGER_0.png"
    bad.write_bytes(b"no picture")
    scans = len(list(source.glob("*_E_*.bnt")))
    done = run_tool("--database=bosphorus", f"--raw={raw}", f"--data_dir={data_dir}", "--workers=2")
    assert done.returncode == 1 and f"1 of {scans} scans left out" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout.splitlines()[0] == f"{scans - 1} scans in {data_dir / 'bosphorus' / VERSION}"
    assert done.stdout.splitlines()[1:] == ["left out: 1 neutral faces (NE)"]
    assert [row["scan"] for row in rejected(data_dir)] == [bad.stem]
    shutil.copy(source / bad.name, bad)
    done = run_tool("--database=bosphorus", f"--raw={raw}", f"--data_dir={data_dir}", "--workers=1")
    assert done.returncode == 0 and done.stdout.startswith(f"{scans} scans in ")
    found = examples(data_dir / "bosphorus" / VERSION)
    words = ["ANGER", "DISGUST", "FEAR", "HAPPY", "SADNESS", "SURPRISE"]  # in the order of the labels
    assert [example["label"] for example in found] == sorted(
        words.index(path.stem.split("_")[2]) for path in source.glob("*_E_*.bnt")
    )
    for example in found:
        face = np.isfinite(example["depth"])
        assert 0.1 < face.mean() < 0.9 and (example["texture"][~face] == 0).all()
        assert np.isfinite(example["landmarks"]).all() and 0 < example["mask56"].mean() < 1


@pytest.mark.parametrize(
    "arguments", [[], ["--database=celeba", "--raw=a", "--data_dir=b"], ["--database=bu3dfe", "--workers=0"]]
)
def test_command_line_refuses_wrong_arguments(call, arguments):
    assert call(main, *arguments).returncode == 2


def test_command_line_helps(call):
    done = call(main, "--help")
    assert done.returncode == 0 and "rejected.csv" in done.stdout


@pytest.fixture
def parts(raw, tmp_path):
    """Two folders that hold six scans each: as a database on two disks."""
    for number, level in ((1, "03"), (2, "04")):
        (tmp_path / f"part {number}").mkdir()
        for path in raw.rglob(f"*_??{level}*"):
            shutil.copy2(path, tmp_path / f"part {number}")
    return tmp_path / "part 1", tmp_path / "part 2"


def prepare_quickly(folder, data_dir, database="bu3dfe"):
    return prepare(database, folder, data_dir, workers=1, preprocess=quick_maps)


@pytest.mark.slow
def test_parts_make_the_same_data_set_as_the_whole(raw, parts, tmp_path):
    whole = prepare_quickly(raw, tmp_path / "whole")
    first = prepare_quickly(parts[0], tmp_path / "data")
    second = prepare_quickly(parts[1], tmp_path / "data")
    assert (first.prepared, first.kept, second.prepared, second.kept) == (6, 0, 6, 6)
    digests.verify(second.folder)
    for one, other in zip(examples(whole.folder), examples(second.folder), strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    before = written(second.folder)
    for part in parts:  # nothing is done twice
        again = prepare_quickly(part, tmp_path / "data")
        assert (again.prepared, again.kept) == (6, 6) and written(second.folder) == before


@pytest.mark.slow
def test_a_part_follows_its_folder_and_the_last_of_one_name_counts(parts, tmp_path):
    for part in parts:
        prepare_quickly(part, tmp_path / "data")
    for path in parts[1].glob("F0001_AN04*"):
        path.unlink()
    done = prepare_quickly(parts[1], tmp_path / "data")
    assert (done.prepared, done.kept) == (5, 6)
    for path in parts[0].glob("F0001_HA03*"):
        shutil.copy(path, parts[1])
    done = prepare_quickly(parts[1], tmp_path / "data")
    assert (done.prepared, done.kept) == (6, 5)
    for path in parts[1].glob("F0001_HA03*"):
        path.write_bytes(b"broken")
    done = prepare_quickly(parts[1], tmp_path / "data")  # it was this folder's; the other is asked again below
    assert (done.prepared, done.kept, len(done.rejected)) == (5, 5, 1)
    done = prepare_quickly(parts[0], tmp_path / "data")
    assert (done.prepared, done.kept) == (6, 5)
    assert len(examples(done.folder)) == 11


@pytest.mark.slow
def test_parts_of_other_versions_and_damaged_ones_are_not_mixed(parts, tmp_path):
    folder = prepare_quickly(parts[0], tmp_path / "data").folder
    another_version = functools.partial(prepare, workers=1, preprocess=picky_maps)
    with pytest.raises(DatasetError, match=rf"holds 6 scans of .*part 1, which another version .*; remove .*{VERSION}"):
        another_version("bu3dfe", parts[1], tmp_path / "data")
    assert len(examples(folder)) == 6
    assert another_version("bu3dfe", parts[0], tmp_path / "data").prepared == 4
    record = next(folder.glob("*.array_record*"))
    record.write_bytes(record.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=r"holds 4 scans of .*part 1, but is damaged"):
        another_version("bu3dfe", parts[1], tmp_path / "data")
    (folder / "sources.json").write_text("{")
    with pytest.raises(DatasetError, match=r"sources.json: damaged; remove"):
        prepare_quickly(parts[0], tmp_path / "data")


@pytest.mark.slow
def test_a_data_set_without_a_list_of_sources(raw, parts, tmp_path):
    """As earlier versions wrote it: the whole replaces it, a part does not."""
    folder = prepare_quickly(raw, tmp_path / "data").folder
    (folder / "sources.json").unlink()
    digests.write_digests(folder, "of an earlier version")
    with pytest.raises(DatasetError, match=r"holds 6 scans of other raw folders, which another version"):
        prepare_quickly(parts[0], tmp_path / "data")
    assert prepare_quickly(raw, tmp_path / "data").prepared == 12
    digests.verify(folder)


@pytest.mark.slow
def test_the_list_of_rejected_scans_holds_several_data_sets(parts, raw_bosphorus, tmp_path):
    for folder, pattern in ((raw_bosphorus, "*ANGER_0.png"), (parts[0], "*DI03*.bmp"), (parts[1], "*FE04*.bmp")):
        (path,) = folder.rglob(pattern)
        path.rename(path.with_suffix(".gone"))
    prepare_quickly(raw_bosphorus, tmp_path / "data", "bosphorus")
    for part in parts:
        prepare_quickly(part, tmp_path / "data")
    listed = {(row["database"], row["scan"]) for row in rejected(tmp_path / "data")}
    assert listed == {("bosphorus", "bs000_E_ANGER_0"), ("bu3dfe", "F0001_DI03WH"), ("bu3dfe", "F0001_FE04WH")}
    assert [each.scan for each in inspect(tmp_path / "data", "bosphorus").rejected] == ["bs000_E_ANGER_0"]
    (path,) = parts[0].glob("*.gone")
    path.rename(path.with_suffix(".bmp"))
    prepare_quickly(parts[0], tmp_path / "data")
    assert {row["scan"] for row in rejected(tmp_path / "data")} == {"bs000_E_ANGER_0", "F0001_FE04WH"}


def test_what_file_managers_leave_changes_nothing(raw, tmp_path):
    first = prepare_quickly(raw, tmp_path / "data")
    for name in (".DS_Store", "._features.json", "Thumbs.db", "desktop.ini", "notes.txt"):
        (first.folder / name).write_text("x")
        (raw / name).write_text("x")
    (first.folder / "@eaDir").mkdir()
    digests.verify(first.folder)
    before = written(first.folder)
    assert prepare_quickly(raw, tmp_path / "data") == first and written(first.folder) == before


def test_no_folder_is_left_in_the_temporary_one(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    prepare_quickly(raw, tmp_path / "data")
    assert not list((tmp_path / "temporary").iterdir())
    assert {path.name for path in (tmp_path / "data").iterdir()} == {
        ".bu3dfe.lock",
        ".rejected.csv.lock",
        "bu3dfe",
        "rejected.csv",
    }
