"""--config=NAME|FILE[:VARIANT] and --config.FIELD=VALUE, the arguments of the commands that train."""

from __future__ import annotations

import contextlib
import difflib
import importlib.machinery
import importlib.util
import inspect
import itertools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from afnet_jax import config as settings
from afnet_jax.commands import completion
from afnet_jax.commands.command_line import CommandParser, entry, print_whatever_the_locale
from afnet_jax.config import RENAMED, default_config, flat
from afnet_jax.errors import AFNetError, ConfigError, in_one_line
from afnet_jax.models.architecture import Architecture
from afnet_jax.paths import user_path
from afnet_jax.recipes import SHIPPED, shipped_config

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", tuple: "values such as 3,4", str: "a text"}


def config_parser(description: str | None) -> CommandParser:
    """Returns the parser of a command that takes --config; its `parse_args` gives the config, changed as asked for."""
    print_whatever_the_locale()
    return _ConfigParser(description=description)


class _ConfigParser(CommandParser):
    """Parses --config and the fields of the config beside a command's own arguments."""

    def __init__(self, description: str | None = None, **settings: Any):
        super().__init__(description, **settings)
        self._named = ""  # the config whose fields --help shows
        self.add_argument(
            "--config",
            required=True,
            metavar="NAME|FILE[:VARIANT]",
            help=f"settings: {', '.join(SHIPPED)}, or a Python file of your own (docs/settings.md); a variant of the "
            "network stands after a colon, synthetic:no_ma",
        )

    def knows(self, argument: str) -> bool:
        return super().knows(argument) or re.match(r"--(no)?config\.", argument) is not None

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Returns the arguments, of which `config` is a ConfigDict."""
        if completion.is_asked():
            for field, meaning in meanings().items():
                self.add_argument(f"--config.{field}", help=meaning)
            completion.complete(self)
        checked = self.checked(sys.argv[1:] if args is None else args)
        self._named = _named_in(checked)
        given, overrides = self.parse_known_args(checked, namespace)
        try:
            given.config = _overridden(load_config(given.config), overrides)
        except AFNetError as error:
            self.error(str(error))
        return given

    def format_help(self) -> str:
        told = meanings()
        config, title = default_config(), "fields of the config, in general; with --config=NAME those of that config:"
        if self._named:
            with contextlib.suppress(ConfigError):  # then --help has no better than the general ones
                config, title = load_config(self._named), f"fields of the config as {self._named} has them:"
        values = {field: value for field, value in flat(config.to_dict()).items() if field in told}
        fields = [entry(f"--config.{field}={_as_typed(value)}", told[field]) for field, value in values.items()]
        return "\n".join([super().format_help(), title, *fields, ""])


def _named_in(args: Sequence[str]) -> str:
    """Returns what the arguments give as --config, or ""."""
    for argument, following in itertools.zip_longest(args, args[1:], fillvalue=""):
        if argument == "--config":
            return following
        if argument.startswith("--config="):
            return argument.removeprefix("--config=")
    return ""


def load_config(given: str) -> ConfigDict:
    """Returns the config of a name that comes with the package, or of a Python file whose `get_config` makes it.

    Args:
        given: "synthetic", "my_config.py", each with a variant after a colon where another than AFNet-M is meant.

    Raises:
        ConfigError: no such file, one that fails or makes no config, or an unknown variant.
    """
    name, colon, variant = given.partition(":")
    if name in SHIPPED:
        return shipped_config(name, *([variant] if colon else []))
    path = user_path(name) if name else Path()
    if not path.is_file():
        near = difflib.get_close_matches(path.stem, SHIPPED, n=1, cutoff=0.6)
        advice = f"did you mean --config={near[0]}?" if near else f"{', '.join(SHIPPED)} come with the package"
        raise ConfigError(f"--config={given}: no such file; {advice}")
    try:
        config = _get_config_of(path)(*([variant] if colon else []))
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # of somebody else's code
        raise ConfigError(f"--config={given}: the file fails: {in_one_line(error)}") from error
    _check_made(config, given)
    return config


def meanings() -> dict[str, str]:
    """Returns what the comments at each field's definition say: "train.epochs" -> "passes over the training folds"."""
    found, comment = {}, []
    for line in map(str.strip, inspect.getsource(settings).splitlines()):
        if line.startswith("# "):
            comment.append(line.removeprefix("# "))
            continue
        if (match := re.match(r"config\.([\w.]+) = (?!ConfigDict)", line)) and comment:
            found[match[1]] = " ".join(comment)
        comment = []
    for field, meaning in re.findall(r"^    (\w+): .* = .*  # (.*)$", inspect.getsource(Architecture), re.MULTILINE):
        found[f"model.{field}"] = meaning.replace("open: ", "left open by the paper: ")
    fields = flat(default_config().to_dict())
    return {field: _as_a_phrase(meaning) for field, meaning in found.items() if field in fields}


def _as_a_phrase(comment: str) -> str:
    first = comment[0].lower() if comment[:2].istitle() else comment[0]
    return first + comment[1:].rstrip(".")


def _get_config_of(path: Path) -> Any:
    """Runs a file of settings and returns its `get_config`."""
    loader = importlib.machinery.SourceFileLoader("config_file", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise ConfigError(f"--config={path}: defines no get_config(variant); docs/settings.md shows a whole file")
    return module.get_config


def _check_made(config: Any, given: str) -> None:
    if not isinstance(config, ConfigDict):
        made = type(config).__name__
        raise ConfigError(f"--config={given}: get_config returns {made}, expected the ConfigDict of database_config")
    if missing := [field for field in flat(default_config().to_dict()) if field not in flat(config.to_dict())]:
        raise ConfigError(f"--config={given}: lacks {missing[0]}; start from afnet_jax.config.default_config()")


def _overridden(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """Returns the config, locked, with --config.FIELD=VALUE and --noconfig.FIELD as ml_collections reads them.

    Raises:
        ConfigError: an argument that is no field, or a value that is none of its field.
    """
    fields = flat(config.to_dict())
    for argument in overrides:
        _check_field(argument, fields)
    overrides = [each for each in overrides if not _asks_for_none(each, fields)]
    flags.FLAGS.mark_as_parsed()  # libraries may ask for flags of theirs
    known = flags.FlagValues()
    known.set_gnu_getopt(True)
    argv = ["", *(_quoted(argument, fields) for argument in overrides)]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=known, sys_argv=argv)
        stray = known(argv)[1:]
    except (flags.Error, ValueError, AttributeError, KeyError, TypeError, SyntaxError) as error:
        raise ConfigError(_fault_of_value(error, fields)) from error
    if stray:
        raise ConfigError(f"unexpected argument {stray[0]!r}")
    return config


def _asks_for_none(argument: str, fields: dict[str, Any]) -> bool:
    """Tells whether it gives None to a field that has it, for which ml_collections knows no word."""
    name, _, value = argument.partition("=")
    field = name.removeprefix("--config.")
    return value == "None" and field in fields and fields[field] is None


def _quoted(argument: str, fields: dict[str, Any]) -> str:
    """Returns "…=texture,depth", a list of words as --help shows it, with the quotes that ml_collections needs."""
    name, _, value = argument.partition("=")
    default = fields.get(name.removeprefix("--config."))
    words = isinstance(default, tuple) and any(isinstance(each, str) for each in default)
    return f"{name}={tuple(value.split(','))!r}" if words and value[:1] not in ("", "(", "[", "'", '"') else argument


def _check_field(argument: str, fields: dict[str, Any]) -> None:
    name = argument.split("=")[0].removeprefix("--").removeprefix("no").removeprefix("config.")
    if not re.match(r"--(no)?config\.", argument) or (name in fields and name != "variant"):
        return
    if name == "variant":  # it would change the name and leave the network
        raise ConfigError("--config.variant: a variant is chosen after a colon, --config=NAME:VARIANT")
    if name in RENAMED:
        raise ConfigError(f"--config.{name}: no such field any more; --config.{RENAMED[name]} took its place")
    near = difflib.get_close_matches(name, fields, n=1)
    raise ConfigError(f"--config.{name}: no such field" + (f"; did you mean --config.{near[0]}?" if near else ""))


def _fault_of_value(error: Exception, fields: dict[str, Any]) -> str:
    """Returns one line for what absl and ml_collections raise on a value."""
    message = " ".join(str(error).split())
    if not (match := re.match(r"flag --config\.([\w.]+)=(.*?): ", message)):
        return message
    field, value = match.groups()
    default = fields.get(field)
    expected = _KINDS.get(type(default))
    return f"--config.{field}={value}: expected {expected}, as {_as_typed(default)!r} is" if expected else message


def _as_typed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
