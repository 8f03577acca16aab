"""Completion in the shell, by argcomplete: `eval "$(register-python-argcomplete afnet)"`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection

_ASKED = "_ARGCOMPLETE"  # set by the shell's part of argcomplete, to the number of the word that is the program's name


def is_asked() -> bool:
    """Tells whether the shell has started this process to learn what a word could become."""
    return _ASKED in os.environ


def complete(parser: argparse.ArgumentParser) -> None:
    """Answers the shell by a parser's arguments and ends the process."""
    import argcomplete

    argcomplete.autocomplete(parser)


def verb_to_complete(verbs: Collection[str]) -> str | None:
    """Returns the verb whose arguments the shell asks for; answers, and ends the process, where it asks for a verb."""
    words = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])].split(" ")
    if len(words) > 2:
        os.environ[_ASKED] = "2"
        return words[1] if words[1] in verbs else None
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("verb", choices=list(verbs))
    complete(parser)
    return None
