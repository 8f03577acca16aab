"""Text files are UTF-8 whatever the locale: every call that opens one says so."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    [*(ROOT / "afnet_jax").rglob("*.py"), *(ROOT / "tools").glob("*.py"), *(ROOT / "configs").glob("*.py")]
)


def locale_dependent(source: str) -> list[int]:
    """Lines that read or write text in the locale's encoding."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and _opens_text(node) and "encoding" not in {each.arg for each in node.keywords}
    ]


def _opens_text(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name != "open":
        return name in ("read_text", "write_text")
    if isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") in ("Image", "os", "tensorstore"):
        return False
    modes = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    return not any(isinstance(mode, str) and "b" in mode for mode in modes)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_is_utf_8(path):
    assert not locale_dependent(path.read_text(encoding="utf-8"))


def test_the_search_finds_what_it_looks_for():
    assert locale_dependent("path.read_text()\nopen(path, 'w')\npath.open('a')\nopen(path)") == [1, 2, 3, 4]
    assert not locale_dependent("open(path, 'rb')\nImage.open(file)\npath.write_text('', encoding='utf-8')")
