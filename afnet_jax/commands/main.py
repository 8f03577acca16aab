"""Recognises facial expressions from the texture and the depth of 3D scans: AFNet-M in JAX.

    afnet train --config=synthetic --workdir=runs/synthetic

Raw scans become a data set, on which folds of subjects are trained side by side; a finished run predicts new scans.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import NamedTuple

from afnet_jax import __version__
from afnet_jax.commands import completion
from afnet_jax.commands.command_line import print_whatever_the_locale, readers_may_leave


class _Verb(NamedTuple):
    """A module of this package, and what its help says in one line."""

    module: str
    does: str


VERBS = {
    "train": _Verb("train", "trains and evaluates all folds of all rounds, or resumes a stopped run"),
    "evaluate": _Verb("evaluate", "tests a finished run on another data set, or its checkpoints anew"),
    "prepare": _Verb("prepare", "turns raw scans into the data set for training"),
    "synthetic": _Verb("synthetic", "writes raw files of synthetic subjects"),
    "inspect": _Verb("inspect", "writes a page that shows a prepared data set, odd scans first"),
    "view": _Verb("view", "draws what is made of raw scans, as a page or a picture; needs no run"),
    "predict": _Verb("predict", "predicts the expressions of raw scans"),
    "reproduce": _Verb("reproduce", "trains every variant, then draws the paper's tables and figures"),
    "export": _Verb("export", "writes a finished run's networks as StableHLO and safetensors"),
    "port-imagenet": _Verb("port_imagenet", "makes a checkpoint of published ResNet18 weights"),
    "compare": _Verb("compare", "sets a finished run beside linear models on the same splits"),
    "pixel-baseline": _Verb("compare", "the earlier name of compare"),
}


def main() -> int:
    with readers_may_leave():
        return _main()


def _main() -> int:
    print_whatever_the_locale()
    verb, *arguments = sys.argv[1:] or ["--help"]
    if completion.is_asked():
        verb, arguments = completion.verb_to_complete(VERBS) or "--help", []
    if verb in ("--help", "-h", "help"):
        print(_help())
        return 0
    if verb == "--version":
        print(f"afnet_jax {__version__}")
        return 0
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        advice = f"did you mean afnet {near[0]}?" if near else f"expected one of {', '.join(VERBS)};"
        print(f"error: {verb}: no such command; {advice} see afnet --help", file=sys.stderr)
        return 2
    sys.argv = [f"afnet {verb}", *arguments]
    return importlib.import_module(f"afnet_jax.commands.{VERBS[verb].module}").main()


def _help() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:{width}}  {verb.does}" for name, verb in VERBS.items()]
    usage = "usage: afnet COMMAND [arguments]\n       afnet --version"
    end = "afnet COMMAND --help shows an example and all arguments."
    status = "Exit status: 0 done, 1 a fault, 2 wrong arguments, 130 stopped."
    return "\n".join([str(__doc__), usage, "", "commands:", *lines, "", end, status])


if __name__ == "__main__":
    sys.exit(main())
