"""Start and end of every command: status 0 on success, 1 on a fault with one line, 2 on wrong arguments."""

from __future__ import annotations

import argparse
import difflib
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from afnet_jax.config import RENAMED, default_config, flat
from afnet_jax.errors import AFNetError, ConfigError
from afnet_jax.gpu import report_missing_gpu
from afnet_jax.paths import user_path
from afnet_jax.scans.databases import DATABASES

_VARIANT = "config.variant"


def config_flag(help: str, known: flags.FlagValues) -> flags.FlagHolder:
    """Defines --config, which must be given, and --config.FIELD for each of its fields."""
    holder = config_flags.DEFINE_config_file("config", None, help, flag_values=known)
    flags.mark_flag_as_required("config", flag_values=known)
    return holder


def run_command(
    main: Callable[[], int | None], argv: Sequence[str], description: str | None, known: flags.FlagValues
) -> int:
    """Parses absl flags, calls `main`, and turns faults into one line on stderr.

    Args:
        main: the command; returns an exit status, or None for 0.
        argv: the program's name and its arguments.
        description: what --help begins with.
        known: the command's flags; those that libraries define are taken, too.

    Returns:
        Exit status.
    """
    print_whatever_the_locale()
    known.set_gnu_getopt(True)
    if any(argument in ("--help", "-h", "-help") for argument in argv[1:]):
        print(_help(known, description))
        return 0
    known.append_flag_values(flags.FLAGS)
    flags.FLAGS.mark_as_parsed()
    try:
        argv = [_expanded(argument) for argument in argv]
    except AFNetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if told := _wrong_config(argv):  # which absl would find out later with a traceback, or not at all
        print(f"error: {told}", file=sys.stderr)
        return 2
    try:
        if stray := known(list(argv))[1:]:
            raise flags.Error(f"unexpected argument {stray[0]!r}; see --help")
    except (flags.Error, ConfigError, OSError, ValueError, AttributeError, KeyError, TypeError, SyntaxError) as error:
        print(f"error: {_told(error, argv, known)}", file=sys.stderr)
        return 2
    return report_faults(main)


def report_faults(main: Callable[[], int | None]) -> int:
    """Calls `main` and turns a fault of the user's into one line on stderr and exit status 1."""
    report_missing_gpu()
    print_whatever_the_locale()
    try:
        return main() or 0
    except AFNetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a folder without rights: nothing of ours is at fault
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}; mend that and run the same command again", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130


def print_whatever_the_locale() -> None:
    """Makes stdout escape characters that its encoding lacks, as stderr does, instead of raising."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def command_parser(description: str | None) -> argparse.ArgumentParser:
    """Returns the parser of a command's arguments; its help prints in every locale."""
    print_whatever_the_locale()
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def positive(text: str) -> int:
    """Parses a whole number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _expanded(argument: str) -> str:
    """Puts the home folder into --config=~/my.py:variant; fields of the config are expanded where they are used."""
    name, equals, value = argument.partition("=")
    return f"{name}={user_path(value)}" if equals and name.lstrip("-") == "config" and value else argument


def _told(error: Exception, argv: Sequence[str], known: flags.FlagValues) -> str:
    """Returns one line for an exception that absl or ml_collections raise on wrong arguments."""
    fields = list(_fields())
    for argument in argv[1:]:
        name = argument.lstrip("-").split("=")[0].removeprefix("config.")
        if name in RENAMED and argument.lstrip("-").startswith("config."):
            return f"--config.{name}: no such field any more; --config.{RENAMED[name]} took its place"
        if argument.lstrip("-").startswith("config.") and name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            return f"--config.{name}: no such field" + (f"; did you mean --config.{near[0]}?" if near else "")
    missing = [name for name in known if f"--{name}=" in str(error) and "other than None" in str(error)]
    if missing:
        return f"{' and '.join('--' + name + '=…' for name in missing)} must be given; see --help"
    return " ".join(str(error).split())


def _wrong_config(argv: Sequence[str]) -> str:
    config = next((a.split("=", 1)[1] for a in argv[1:] if a.lstrip("-").startswith("config=")), None)
    if config is None and any(a.lstrip("-").startswith("config.") for a in argv[1:]):
        return "--config=FILE is missing; see --help"
    if config is not None and not Path(config.split(":")[0]).is_file():
        held = ", ".join(f"{name}.py" for name, database in DATABASES.items() if database.settings)
        return f"--config={config}: no such file; configs/ holds {held}"
    if any(a.lstrip("-").startswith(_VARIANT) for a in argv[1:]):  # it would change the name and leave the network
        return f"--{_VARIANT}: a variant is chosen after a colon, --config={config or 'FILE'}:VARIANT"
    return ""


def _help(known: flags.FlagValues, description: str | None) -> str:
    lines = [f"  --{name}: {known[name].help}" for name in known]
    fields = [f"  --config.{name}={_as_typed(value)}" for name, value in _fields().items()]
    told = "fields of the config and their defaults, explained in afnet_jax/config.py:"
    return "\n".join([description or "", "arguments:", *lines, "", told, *fields])


def _fields() -> dict[str, Any]:
    """Returns the fields that can be set after --config."""
    return {name: value for name, value in flat(default_config().to_dict()).items() if name != "variant"}


def _as_typed(value) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
