"""Paths given by the user: as a flag, a config field, or an argument in Python."""

from __future__ import annotations

import os
from pathlib import Path

from afnet_jax.errors import AFNetError


def user_path(given: str | os.PathLike[str]) -> Path:
    """Returns the path with a leading `~` or `~user` replaced by that home folder.

    A shell leaves `~` as it is within `--data_dir=~/x`, and a folder of that name is never meant.

    Raises:
        AFNetError: `~user` of a user who is unknown here, an empty path, or bytes that are no text in this locale.
    """
    if not os.fspath(given):
        raise AFNetError("a path is empty, expected a file or a folder; see --help")
    if not _is_text(os.fspath(given)):  # JAX, Orbax and tfds take paths as UTF-8 alone
        told = repr(os.fspath(given))
        raise AFNetError(f"path {told}: holds letters that the locale does not know; set PYTHONUTF8=1 and run again")
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise AFNetError(f"{given}: the home folder of this user is unknown; give the whole path") from None


def _is_text(path: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in path)
