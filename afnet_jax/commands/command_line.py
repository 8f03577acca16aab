"""Start and end of every command: status 0 on success, 1 on a fault with one line, 2 on wrong use, 130 when stopped."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
import re
import select
import shutil
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from afnet_jax.commands import completion
from afnet_jax.errors import AFNetError, Interrupted
from afnet_jax.gpu import report_missing_gpu

_KINDS = {"int": "a whole number", "float": "a number"}  # Python's name of a type -> what a user calls it
_STOPPED = 128 + 2  # as a shell tells it of a program that SIGINT ended
_BROKEN_PIPE = 128 + 13  # the exit status that a shell gives a program ended by SIGPIPE


def report_faults(main: Callable[[], int | None]) -> int:
    """Calls `main`; a fault of the user's becomes one line on stderr and exit status 1, a stopped run 130."""
    report_missing_gpu()
    print_whatever_the_locale()
    try:
        with readers_may_leave(), _stopped_by_sigterm():
            return main() or 0
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        return _STOPPED
    except AFNetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a folder without rights: nothing of ours is at fault
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}; fix this and run the same command again", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return _STOPPED


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM, by which batch systems end a job, stops a command as Ctrl-C does."""

    def stop(*_) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def readers_may_leave() -> Iterator[None]:
    """Ends the program in silence where whoever read its output has closed it, as `head` does after ten lines."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # the caller has closed it
                sys.stdout.flush()
    except BrokenPipeError:
        if not _is_closed():
            raise  # another pipe, such as one to a process of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes there at the end
        sys.exit(_BROKEN_PIPE)


def _is_closed() -> bool:
    """Tells whether stdout is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def print_whatever_the_locale() -> None:
    """Makes stdout escape characters that its encoding lacks, as stderr does, instead of raising."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def command_parser(description: str | None, usage: str | None = None) -> CommandParser:
    """Returns the parser of a command's arguments; its help prints in every locale.

    Args:
        description: what the command does, as `CommandParser` takes it.
        usage: how it is called, where that does not follow from its arguments; "%(prog)s" stands for its name.
    """
    print_whatever_the_locale()
    return CommandParser(description=description, usage=usage)


class CommandParser(argparse.ArgumentParser):
    """Parses a command's arguments, with one look of --help, and one line for whatever is wrong with them.

    Args:
        description: what the command does, then an example, then the rest: a module's docstring.
        settings: of `argparse.ArgumentParser`.
    """

    def __init__(self, description: str | None = None, **settings: Any):
        settings.setdefault("prog", _program())
        super().__init__(
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
            **settings,
        )
        self.add_argument("-h", "--help", action="help", help="prints this and exits")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Returns the arguments; prints one line and exits with status 2 where they are wrong."""
        if completion.is_asked():
            completion.complete(self)
        return super().parse_args(self.checked(sys.argv[1:] if args is None else args), namespace)

    def checked(self, args: Sequence[str]) -> list[str]:
        """Returns the arguments with two dashes before each name, for one is enough; refuses unknown names."""
        args = [f"-{arg}" if re.match(r"-[A-Za-z]\w", arg) and self.knows(f"-{arg}") else arg for arg in args]
        names = [arg.split("=")[0] for arg in args[: args.index("--") if "--" in args else None]]
        for name in names:
            if name.startswith("--") and not self.knows(name) and not self._subparsers:
                self.error(f"unrecognized arguments: {name}")
        return args

    def knows(self, argument: str) -> bool:
        """Tells whether an argument, `--name` or `--name=value`, is one of this command's."""
        return argument.split("=")[0] in self._option_string_actions

    def error(self, message: str) -> NoReturn:
        fault = self._in_plain_words(message)
        print(f"error: {fault}{'' if fault.endswith('?') else ';'} see {self.prog} --help", file=sys.stderr)
        sys.exit(2)

    def _in_plain_words(self, message: str) -> str:
        """Returns what argparse says, with the argument's name first, what was expected and what was found."""
        message = " ".join(message.split())
        if match := re.match(r"the following arguments are required: (.*)", message):
            missing = [f"{name}=…" if name.startswith("--") else name for name in match[1].split(", ")]
            others = f"{', '.join(missing[:-1])} and " if missing[1:] else ""
            return f"{others}{missing[-1]} must be given"
        if match := re.match(r"unrecognized arguments: (\S+)", message):
            return self._unknown(match[1])
        if not (match := re.match(r"argument (?:-\w/)?([^:]+): (.*)", message)):
            return message
        name, fault = match.groups()
        if fault == "expected one argument":
            fault = f"expected a value, {name}=…"
        elif found := re.match(r"invalid (\w+) value: (.*)", fault):
            fault = f"expected {_KINDS.get(found[1], found[1])}, found {found[2]}"
        elif found := re.match(r"invalid choice: (.*) \(choose", fault):
            choices = next((a.choices for a in self._actions if name in (a.metavar, a.dest, *a.option_strings)), None)
            fault = f"expected one of {', '.join(map(str, choices or ()))}, found {found[1]}"
        elif found := re.match(r"ignored explicit argument (.*)", fault):
            fault = f"takes no value, found {found[1]}"
        return f"{name}: {fault}"

    def _unknown(self, argument: str) -> str:
        if not argument.startswith("-"):
            return f"unexpected argument {argument!r}"
        near = difflib.get_close_matches(argument, self._option_string_actions, n=1)
        return f"{argument}: no such argument" + (f"; did you mean {near[0]}?" if near else "")

    def format_help(self) -> str:
        """Returns what the command does, an example, and each argument with what it means and its default."""
        if self._subparsers:
            return super().format_help()
        required = [action for action in self._actions if action.required or not action.option_strings]
        helping, *optional = (action for action in self._actions if action not in required)
        usage = (self.usage or " ".join(["%(prog)s", *map(_invocation, required), "[options]"])) % {"prog": self.prog}
        parts = [(self.description or "").strip(), f"usage: {usage}"]
        parts += [
            f"{title}:\n{_listed(group)}"
            for title, group in (("required", required), ("options", [*optional, helping]))
            if group
        ]
        return "\n\n".join(parts) + "\n"


def entry(name: str, meaning: str) -> str:
    """Returns the lines of --help about one argument: its name, then indented what it means."""
    width = min(max(shutil.get_terminal_size().columns, 60), 100)
    indented = textwrap.fill(meaning, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return f"  {name}\n{indented}"


def positive(text: str) -> int:
    """Parses a whole number of at least 1, for argparse."""
    return _at_least(1, text)


def not_negative(text: str) -> int:
    """Parses a whole number of at least 0, for argparse."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII) or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, found {text!r}")
    return int(text)


def _program() -> str:
    """Returns how this command was called: "afnet train", "predict.py", "python -m afnet_jax.main"."""
    program = Path(sys.argv[0])
    if program.stem in ("main", "__main__") and program.suffix == ".py":
        parts = [part for part in (program.parent.name, program.stem) if part != "__main__"]
        return f"python -m {'.'.join(parts)}"
    return program.name


def _listed(actions: Sequence[argparse.Action]) -> str:
    return "\n".join(entry(_invocation(action), _meaning(action)) for action in actions)


def _invocation(action: argparse.Action) -> str:
    """Returns an argument as it is typed: "--round=N", "--json", "SCAN…"."""
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    value = f"{value}…" if action.nargs in ("+", "*") else str(value)
    if not action.option_strings:
        return value
    return action.option_strings[-1] if action.nargs == 0 else f"{action.option_strings[-1]}={value}"


def _meaning(action: argparse.Action) -> str:
    text = (action.help or "") % (vars(action) | {"prog": ""}) if "%(" in (action.help or "") else action.help or ""
    if action.nargs == 0 or action.required or not action.option_strings or "default" in text:
        return text
    default = ",".join(map(str, action.default)) if isinstance(action.default, list | tuple) else action.default
    return f"{text} (default: {'none' if default is None else default})"
