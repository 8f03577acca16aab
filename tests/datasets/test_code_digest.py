"""The digest tells code from what is only written about it."""

import subprocess
import sys
from pathlib import Path

import pytest

from afnet_jax.datasets.code_digest import code_digest

CODE = '''"""A module."""

from afnet_jax.scans.scan import LANDMARKS


class Mesh:
    """A mesh."""


def edge(points):
    """Returns an edge, mm."""
    return points[0] - 1.5  # of the first point
'''


def digest_of(folder: Path, code: str) -> str:
    (folder / "module.py").write_text(code)
    return code_digest([folder / "module.py"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Returns an edge, mm.", "Returns the first edge in millimetres."),
        ('    """Returns an edge, mm."""\n', ""),
        ('"""A module."""\n', '"""Another module.\n\nWith more to say.\n"""\n'),
        ('    """A mesh."""\n', "    pass\n"),
        ("  # of the first point", "  # another comment"),
        ("points[0] - 1.5", "(points[0]\n        - 1.5)"),
    ],
)
def test_words_about_the_code_change_nothing(tmp_path, old, new):
    assert old in CODE
    assert digest_of(tmp_path, CODE.replace(old, new)) == digest_of(tmp_path, CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("- 1.5", "- 1.50001"),
        ("points[0]", "points[1]"),
        ("class Mesh:", "class Mesh(dict):"),
        ("LANDMARKS", "EXPRESSIONS"),
        ("    return points", '    "no docstring"\n    return points'),
        ("def edge(points)", "def edge(points=None)"),
    ],
)
def test_another_code_has_another_digest(tmp_path, old, new):
    assert old in CODE
    assert digest_of(tmp_path, CODE.replace(old, new)) != digest_of(tmp_path, CODE)


def test_modules_of_the_package_that_are_imported_count_too(tmp_path, monkeypatch):
    import afnet_jax.scans.scan as imported

    before = digest_of(tmp_path, CODE)
    source = Path(imported.__file__).read_text()
    read = Path.read_bytes
    for changed, is_same in (
        (source.replace('"chin",', '"chin_tip",'), False),
        (source.replace("One 3D scan", "A scan"), True),
    ):
        assert changed != source
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", lambda p, t=changed: t.encode() if p.name == "scan.py" else read(p))
            assert (code_digest([tmp_path / "module.py"]) == before) is is_same


def test_code_is_read_and_not_run():
    """The files that are digested import JAX, which takes 150 MiB and a second; the digest does without."""
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from afnet_jax.datasets import code_digest as module\n"
            "files = [Path(module.__file__).parents[1] / 'preprocessing' / 'choice.py']\n"
            "print(module.code_digest(files) != module.code_digest([Path(module.__file__)]), 'jax' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.split() == ["True", "False"]
