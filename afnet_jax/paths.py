"""The door through which every path goes that a user gives: a flag, a field of the config, an argument in Python."""

from __future__ import annotations

import os
from pathlib import Path

from afnet_jax.errors import AFNetError


def user_path(given: str | os.PathLike[str]) -> Path:
    """Returns the path with a leading `~` or `~user` replaced by that home folder.

    A shell leaves `~` as it is within `--data_dir=~/x`, and nobody wants a folder of that name.

    Raises:
        AFNetError: `~user` of a user who is unknown here, or an empty path.
    """
    if not os.fspath(given):
        raise AFNetError("a path is empty, expected a file or a folder; see --help")
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise AFNetError(f"{given}: the home folder of this user is unknown; give the whole path") from None
