"""Every verb of `afnet`: one look of --help, exit status 0, 1 or 2, and one line for whatever is wrong."""

import importlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from afnet_jax.commands import main as console
from afnet_jax.commands.command_line import command_parser, not_negative, positive, report_faults
from afnet_jax.errors import Interrupted

ROOT = Path(__file__).parents[2]


def body(verb):
    return importlib.import_module(f"afnet_jax.commands.{console.VERBS[verb].module}").main


def arguments_of(helped: str) -> dict[str, str]:
    """Argument -> what its help says, of the parts "required" and "options"."""
    own = helped.split("\nfields of the config")[0].partition("\nrequired:\n")[2]
    return {
        name: " ".join(text.split()) for name, text in re.findall(r"^  (\S+)\n((?:      .*\n?)+)", own, re.MULTILINE)
    }


@pytest.mark.parametrize("verb", console.VERBS)
def test_help_says_what_it_does_an_example_and_each_argument(verb, call):
    done = call(body(verb), "--help")
    assert done.returncode == 0 and done.stderr == ""
    first, example, *_ = done.stdout.split("\n\n")
    assert first.endswith(".") and re.match(r"    afnet [a-z-]+ \S", example)
    usage = re.search(r"^usage: (.*)$", done.stdout, re.MULTILINE)[1]
    for name, meaning in arguments_of(done.stdout).items():
        assert meaning and not meaning.endswith(".")
        assert "=" not in name or name in usage or "default" in meaning, "neither required nor with a default"


@pytest.mark.parametrize("verb", console.VERBS)
@pytest.mark.parametrize("wrong", ["nothing", "an unknown argument", "a stray value"])
def test_wrong_use_is_one_line(verb, wrong, call):
    arguments = {"nothing": [], "an unknown argument": ["--colour=red"], "a stray value": ["--workdir"]}[wrong]
    done = call(body(verb), *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and done.stderr.endswith(" --help\n")


@pytest.fixture
def parser():
    parser = command_parser("Does a thing.\n\n    afnet thing --out=x")
    parser.add_argument("files", nargs="+", metavar="FILE", help="to read")
    parser.add_argument("--out", required=True, metavar="DIR", help="to write to")
    parser.add_argument("--count", type=positive, default=3, metavar="N", help="how many")
    parser.add_argument("--seed", type=not_negative, default=0, metavar="N", help="which")
    parser.add_argument("--size", type=float, metavar="MM", help="in mm")
    parser.add_argument("--kind", choices=("a", "b"), default="a", help="of thing")
    parser.add_argument("--fast", action="store_true", help="in a hurry")
    return parser


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "FILE and --out=… must be given"),
        (["f"], "--out=… must be given"),
        (["--count=2"], "FILE and --out=… must be given"),
        (["f", "--out"], "--out: expected a value, --out=…"),
        (["f", "--out=x", "--cuont=2"], "--cuont: no such argument; did you mean --count?"),
        (["f", "--out=x", "--count=0"], "--count: expected a whole number of at least 1, found '0'"),
        (["f", "--out=x", "--count=many"], "--count: expected a whole number of at least 1, found 'many'"),
        (["f", "--out=x", "--seed=-1"], "--seed: expected a whole number of at least 0, found '-1'"),
        (["f", "--out=x", "--size=big"], "--size: expected a number, found 'big'"),
        (["f", "--out=x", "--kind=c"], "--kind: expected one of a, b, found 'c'"),
        (["f", "--out=x", "--fast=1"], "--fast: takes no value, found '1'"),
        (["f", "--out=x", "-q"], "-q: no such argument"),
        (["--ou=x", "f"], "--ou: no such argument; did you mean --out?"),
    ],
)
def test_wrong_arguments_are_told_in_plain_words(parser, arguments, told, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(arguments)
    assert ended.value.code == 2
    assert re.match(f"error: {re.escape(told)};? see ", capsys.readouterr().err)


def test_help_of_a_parser(parser, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    lines = parser.format_help().splitlines()
    assert lines[:3] == ["Does a thing.", "", "    afnet thing --out=x"]
    assert lines[4].endswith(" FILE… --out=DIR [options]")
    assert lines[6:11] == ["required:", "  FILE…", "      to read", "  --out=DIR", "      to write to"]
    assert {
        "  --count=N",
        "      how many (default: 3)",
        "      which (default: 0)",
        "  --kind=a|b",
        "  --fast",
    } <= set(lines)


def test_one_dash_is_enough(parser):
    given = parser.parse_args(["-out=x", "-count", "2", "f"])
    assert (given.out, given.count, given.files) == ("x", 2, ["f"])


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--version"], 0, "afnet_jax 0."),
        (["trian"], 2, "error: trian: no such command; did you mean afnet train?"),
        (["fly"], 2, "error: fly: no such command; expected one of train, "),
    ],
)
def test_the_console_command(arguments, status, told, call):
    done = call(console.main, *arguments)
    assert done.returncode == status and (done.stdout + done.stderr).startswith(told)
    assert (done.stdout + done.stderr).count("\n") == 1


def test_help_of_the_console_command_names_every_verb(call):
    done = call(console.main, "--help")
    assert done.returncode == 0
    for name, verb in console.VERBS.items():
        assert re.search(rf"^  {name} +{re.escape(verb.does)}$", done.stdout, re.MULTILINE)


def test_verbs_and_tools_do_the_same():
    """A tool's --help is the verb's, save for the name in its usage."""
    done = [
        subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
        for command in (["tools/predict.py"], ["-m", "afnet_jax.commands.main", "predict"])
    ]
    tool, verb = (each.stdout for each in done)
    assert "usage: predict.py SCAN… --workdir=RUN" in tool and tool.replace("predict.py", "afnet predict") == verb


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("afnet pre", {"prepare", "predict"}),
        ("afnet predict --wor", {"--workdir"}),
        ("afnet train --mode ", {"train", "evaluate"}),
        ("afnet train --config.train.ep", {"--config.train.epochs"}),
    ],
)
def test_completion_in_the_shell(typed, expected, tmp_path):
    pytest.importorskip("argcomplete")
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": typed, "COMP_POINT": str(len(typed)), "GLIBC_TUNABLES": ""}
    environment = os.environ | asked | {"_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "out"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "afnet_jax.commands.main"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=120)
    assert {word.strip() for word in (tmp_path / "out").read_text().split("\013")} == expected


def test_another_pipe_that_breaks_is_told(capfd):
    def main():
        raise BrokenPipeError(32, "Broken pipe")

    assert report_faults(main) == 1
    assert capfd.readouterr().err == "error: Broken pipe; fix this and run the same command again\n"


@pytest.mark.parametrize("arguments", [("--help",), ("train", "--help"), ("predict", "--help")])
def test_who_stops_reading_ends_the_program_in_silence(arguments):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody:
        done = subprocess.run(
            [sys.executable, "-m", "afnet_jax.commands.main", *arguments],
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    assert done.returncode in (0, 141) and done.stderr == ""  # argparse takes no notice of it


def test_a_run_that_is_stopped_ends_as_docs_settings_md_says(capfd):
    def main():
        raise Interrupted("stopped by SIGTERM; run the same command again to go on")

    assert report_faults(main) == 130
    assert capfd.readouterr().err == "stopped by SIGTERM; run the same command again to go on\n"


def test_a_closed_stdout_is_no_fault(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert report_faults(lambda: 0) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_sigterm_stops_a_command_as_ctrl_c_does(capfd):
    before = signal.getsignal(signal.SIGTERM)
    assert report_faults(lambda: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(60)) == 130
    assert capfd.readouterr().err == "stopped; run the same command again to go on\n"
    assert signal.getsignal(signal.SIGTERM) == before
