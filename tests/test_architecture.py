"""The import graph runs one way, and modules stay short enough to be read."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "afnet_jax"
# Rooms from the ground up: each imports from those before it and from itself alone.
FLOORS = (
    ("errors", "file_lock", "html_page", "huge_pages", "machine", "maps", "sha256"),
    ("atomic_files", "compiler", "gpu", "paths", "workers"),
    ("scans",),
    ("geometry", "models", "synthetic"),
    ("landmarks",),
    ("preprocessing",),
    ("points",),
    ("datasets", "protocol"),
    ("quality",),
    ("config_checks",),
    ("config",),
    ("recipes",),
    ("runs",),
    ("training",),
    ("analysis",),
    ("experiments",),
    ("commands",),
    ("main",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of the package."""
    names = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports(path: Path, known: set[str]) -> Iterator[str]:
    """Modules of the package that a file imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in known or node.module in known:
                    yield whole if whole in known else node.module


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imports(path, set(known))) - {name} for name, path in known.items()}


def test_rooms_import_downwards():
    wrong = [
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in others
        if room(name) and room(other) and room(name) != room(other) and FLOOR_OF[room(other)] >= FLOOR_OF[room(name)]
    ]
    assert not wrong


def test_no_circles():
    remaining = graph()
    while remaining:
        leaves = {name for name, others in remaining.items() if not others & remaining.keys()}
        assert leaves, f"these import one another: {sorted(remaining)}"
        remaining = {name: others for name, others in remaining.items() if name not in leaves}


def test_no_module_is_longer_than_400_lines():
    long = {name: lines for name, path in modules().items() if (lines := len(path.read_text().splitlines())) > 400}
    assert not long


def test_no_function_is_longer_than_60_lines():
    long = {
        f"{name}.{node.name}"
        for name, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60
    }
    assert not long


def imported_rooms(folder: str) -> dict[str, set[str]]:
    """File -> the first parts of the names that it imports, also within functions."""
    found = {}
    for path in (ROOT / folder).rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
        names = [".".join(name.split(".")[:2]) if name.startswith("tests.") else name.split(".")[0] for name in names]
        found[str(path.relative_to(ROOT))] = set(names)
    return found


def test_tests_and_programs_do_not_import_each_other():
    """What tests share stands in tests/support, which programs of benchmarks/ may use; tests import no tool."""
    theirs = {"tools", *(path.stem for path in (ROOT / "tools").glob("*.py"))}
    others = {f"tests.{folder.name}" for folder in (ROOT / "tests").iterdir() if folder.name != "support"}
    assert not {file: names & theirs for file, names in imported_rooms("tests").items() if names & theirs}
    for folder in ("tools", "benchmarks", "afnet_jax"):
        refused = others if folder == "benchmarks" else {"tests", "tests.support", *others}
        assert not {file: names & refused for file, names in imported_rooms(folder).items() if names & refused}


def test_tools_are_one_import_and_one_call():
    for path in (ROOT / "tools").glob("*.py"):
        body = ast.parse(path.read_text()).body
        assert len(path.read_text().splitlines()) < 20 and not [n for n in body if isinstance(n, ast.FunctionDef)], path
