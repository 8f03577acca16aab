"""A digest of the code that makes a record, so that records of two versions are never mixed.

Only what runs enters it: a change of a docstring, a comment or the layout leaves it as it is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from afnet_jax.sha256 import digest_of

_PACKAGE = __name__.partition(".")[0]
_ABOVE = Path(__file__).parents[__name__.count(".")]  # the folder that holds the package
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_digest(files: Iterable[Path]) -> str:
    """Returns the digest of Python files and of all modules of this package that they import, also indirectly."""
    waiting, code = [path.resolve() for path in files], {}
    while waiting:
        if (path := waiting.pop()) not in code:
            code[path], imported = _read(path)
            waiting += imported
    return digest_of("\0".join(sorted(code.values())))


def _module_file(name: str) -> Path | None:
    """Returns the file of a module of this package by its dotted name; None where there is no such module.

    By its path: to ask Python would import the modules above it, and so JAX, which preparing does not need.
    """
    place = _ABOVE.joinpath(*name.split("."))
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


def _read(path: Path) -> tuple[str, tuple[Path, ...]]:
    """A file's code in one normal form, and the files of this package that it imports."""
    tree = ast.parse(path.read_bytes())
    found = (_module_file(name) for name in _imported(tree) if name.partition(".")[0] == _PACKAGE)
    imported = tuple(sorted({each.resolve() for each in found if each}))
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree), imported


def _imported(tree: ast.AST) -> Iterator[str]:
    """The dotted names that a file imports; of `from a import b` both a and a.b, as b may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
