"""Measurements in processes of their own, with programs of one line in the place of measurements."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.items import Item, measure

ROOT = Path(__file__).parents[2]
SETTINGS = {"image_size": 32}


def item(name, code, seconds=60.0):
    return Item(name, [sys.executable, "-c", code], seconds)


def result(name, value, note):
    """Writes down that it was taken, and gives a value."""
    return item(
        name, f"open({str(note)!r}, 'a').write({name!r} + ' '); print('noise'); print('{{\"value\": {value}}}')"
    )


def take(items, tmp_path, seconds=60.0, **options):
    lines = []
    content = measure(
        items, tmp_path / "out" / "found.json", seconds=seconds, settings=SETTINGS, say=lines.append, **options
    )
    assert content == json.loads((tmp_path / "out" / "found.json").read_text())
    return content["items"], lines


def test_in_their_order_with_their_results(tmp_path):
    note = tmp_path / "note"
    items, lines = take([result(name, value, note) for name, value in (("b", 1), ("a", 2), ("c", 3))], tmp_path)
    assert note.read_text().split() == ["b", "a", "c"] == list(items)
    assert [outcome["result"]["value"] for outcome in items.values()] == [1, 2, 3]
    assert [line.split("  ")[1] for line in lines] == ["b", "a", "c"] and "value 2" in lines[1]


def test_stored_after_each(tmp_path):
    """Each finds in the file what was there before it."""
    look = "import json, pathlib; p = pathlib.Path('found.json'); "
    look += "print(json.dumps({'before': list(json.loads(p.read_text())['items']) if p.exists() else []}))"
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", f"import os; os.chdir({str(tmp_path / 'out')!r}); {look}"]
    items, _ = take([Item(name, command) for name in "abc"], tmp_path)
    assert [outcome["result"]["before"] for outcome in items.values()] == [[], ["a"], ["a", "b"]]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise MemoryError('RESOURCE_EXHAUSTED')", "RESOURCE_EXHAUSTED"),
        ("import os; os.abort()", f"exit status -{signal.SIGABRT.value}"),
        ("print('no json')", "no json"),
        ("pass", "no JSON"),
    ],
    ids=["raises", "aborts", "gives no JSON", "gives nothing"],
)
def test_a_failure_is_stored_and_the_next_goes_on(tmp_path, code, told):
    items, _ = take([item("broken", code), result("sound", 1, tmp_path / "note")], tmp_path)
    assert items["broken"]["status"] == "failed" and told in items["broken"]["error"]
    assert items["sound"]["result"] == {"value": 1}


def test_what_takes_too_long_is_stopped_with_all_it_started(tmp_path):
    """Its child would live on for a minute."""
    child = tmp_path / "child"
    slow = Item("slow", ["sh", "-c", f"sleep 60 & echo $! > '{child}'; wait"], 2.0)
    items, _ = take([slow, result("quick", 1, tmp_path / "note")], tmp_path)
    assert items["slow"]["status"] == "stopped" and items["quick"]["status"] == "done"
    assert not is_running(int(child.read_text()))


def is_running(pid):
    for _ in range(100):  # until whoever took it over has buried it
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return False
        time.sleep(0.05)
    return True


def test_what_the_budget_does_not_hold_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.items._SHORTEST_SECONDS", 1.0)
    note = tmp_path / "note"
    items, _ = take([Item("slow", ["sleep", "60"]), result("late", 1, note)], tmp_path, seconds=1.5)
    assert items["slow"]["status"] == "stopped" and items["late"]["status"] == "left out" and not note.exists()


def test_called_again_it_goes_on(tmp_path):
    """What is done stays; what failed or was left out is taken; under other settings all begins anew."""
    note = tmp_path / "note"
    first, _ = take([result("a", 1, note), item("b", "exit(1)")], tmp_path)
    second, _ = take([result("a", 7, note), result("b", 2, note), result("c", 3, note)], tmp_path)
    assert note.read_text().split() == ["a", "b", "c"] and second["a"] == first["a"]
    measure([result("a", 7, note)], tmp_path / "out" / "found.json", seconds=60, settings={}, say=lambda _: None)
    assert json.loads((tmp_path / "out" / "found.json").read_text())["items"]["a"]["result"] == {"value": 7}


@pytest.mark.slow
def test_the_plan_and_its_functions_belong_together():
    """The command's own plan: its order, and every function of it with the arguments that it takes."""
    code = (
        "import inspect, json, sys\n"
        "from benchmarks import gpu_items, measure_gpu\n"
        "for dry in ([], ['--dry_run']):\n"
        "    items = measure_gpu.plan(measure_gpu._parser().parse_args(['--json=x', *dry]))\n"
        "    for item in items:\n"
        "        function, arguments = item.command[-2:]\n"
        "        inspect.signature(getattr(gpu_items, function)).bind(**json.loads(arguments))\n"
        "print(json.dumps([item.name for item in items]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )
    assert json.loads(done.stdout) == [
        "machine", "main and evaluation", "predict", "ceilings",
        "1 trainings", "5 trainings", "10 trainings", "17 trainings",
        "profile of 10 trainings", "PyTorch, eager", "PyTorch, channels last", "PyTorch, compiled, channels last",
        "a round", "5 trainings, grouped", "5 trainings, im2col", "points", "accuracy",
        "10 trainings of 64 px", "50 trainings of 64 px",
    ]  # fmt: skip
