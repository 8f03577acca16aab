"""The console command `afnet`: one verb for each thing that the project does.

afnet train --config=configs/synthetic.py --workdir=runs/synthetic
"""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import NamedTuple

from afnet_jax.commands.command_line import print_whatever_the_locale


class _Verb(NamedTuple):
    """A module of this package, what its help says in one line, and arguments that the verb itself stands for."""

    module: str
    does: str
    arguments: tuple[str, ...] = ()


VERBS = {
    "train": _Verb("train", "trains and evaluates all folds of all rounds, or goes on where it stopped"),
    "evaluate": _Verb("train", "tests the stored checkpoints of a run anew", ("--mode=evaluate",)),
    "prepare": _Verb("prepare", "raw scans -> the data set that training reads"),
    "synthetic": _Verb("synthetic", "raw files of synthetic subjects"),
    "inspect": _Verb("inspect", "a page that shows a prepared data set, odd scans first"),
    "view": _Verb("view", "what the project makes of raw scans, as a page or a picture; needs no run"),
    "predict": _Verb("predict", "raw scans -> probabilities of the six expressions"),
    "reproduce": _Verb("reproduce", "every variant, then the paper's tables and figures"),
    "export": _Verb("export", "a finished run's networks as StableHLO and safetensors"),
    "port-imagenet": _Verb("port_imagenet", "published ResNet18 weights -> a checkpoint"),
    "pixel-baseline": _Verb("pixel_baseline", "a finished run beside a linear model of its pixels"),
}


def main() -> int:
    print_whatever_the_locale()
    verb, *arguments = sys.argv[1:] or ["--help"]
    if verb in ("--help", "-h", "help"):
        print(_help())
        return 0
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        advice = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(VERBS)}"
        print(f"error: afnet {verb}: no such command; {advice}", file=sys.stderr)
        return 2
    sys.argv = [f"afnet {verb}", *VERBS[verb].arguments, *arguments]
    return importlib.import_module(f"afnet_jax.commands.{VERBS[verb].module}").main()


def _help() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:{width}}  {verb.does}" for name, verb in VERBS.items()]
    return "\n".join([str(__doc__), "commands:", *lines, "", "afnet COMMAND --help tells a command's arguments."])


if __name__ == "__main__":
    sys.exit(main())
