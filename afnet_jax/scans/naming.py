"""A naming rule: where a mesh file's name or folder says who shows which expression. It takes the place of a reader.

"{subject}_{expression}.obj" reads anna_happy.obj; "{subject}/*/{expression}{level}.ply" reads anna/day1/AN3.ply.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from afnet_jax.errors import DatasetError
from afnet_jax.scans import meshes
from afnet_jax.scans.scan import EXPRESSION_CODES, EXPRESSIONS, NEUTRAL_CODE, Scan, ScanError, ScanId, ScanIdError

FIELDS = ("subject", "expression", "level")
# Beyond codes and names: what files are called after the expressions, in small letters.
_WORDS = {
    "angry": "AN", "disgusted": "DI", "fearful": "FE", "afraid": "FE", "scared": "FE", "happy": "HA", "joy": "HA",
    "smile": "HA", "sad": "SA", "surprised": "SU", "neutral": NEUTRAL_CODE, NEUTRAL_CODE.lower(): NEUTRAL_CODE,
}  # fmt: skip
_WORDS |= {code.lower(): code for code in EXPRESSION_CODES}
_WORDS |= dict(zip(EXPRESSIONS, EXPRESSION_CODES, strict=True))
# An expression is letters alone, so that a number after it is a level; a subject's name may hold anything.
_GROUPS = {"subject": "(?P<subject>[^/]+)", "expression": r"(?P<expression>[^\W\d_]+)", "level": r"(?P<level>\d+)"}
_TOKEN = re.compile(r"\{([^{}]*)\}|(\*)|([^{*]+|\{)")


class NamingRule:
    """Reads meshes (`scans.meshes`) whose names follow a pattern; see `database.Reader`.

    Args:
        pattern: of the end of a file's path: {subject}, {expression} and {level} stand for what they name, `*` for
            anything within a name, and the suffix for the files' format.

    Raises:
        DatasetError: a pattern that names no subject or expression, knows another field, or ends in no mesh's suffix.
    """

    __file__: str | None = __file__
    named_files = staticmethod(meshes.named_files)

    def __init__(self, pattern: str):
        self.pattern = pattern
        for field in FIELDS:
            if (count := pattern.count(f"{{{field}}}")) > 1 or (not count and field != "level"):
                raise _refused(pattern, f"it holds {{{field}}} {count} times, expected once")
        suffix = Path(pattern).suffix.lower()
        if suffix not in meshes.FORMATS:
            raise _refused(pattern, f"it ends in {suffix or 'no suffix'}, expected one of {', '.join(meshes.FORMATS)}")
        self._parts = pattern.removeprefix("./").split("/")
        self._expression = re.compile("/".join(_regular(pattern, part) for part in self._parts), re.IGNORECASE)
        self.SUFFIXES = (suffix, *(other for other in meshes.SUFFIXES if other != suffix))

    def scan_id(self, path: Path, database: str) -> ScanId:
        """Returns the identity that a path tells: the name is the part of the path that the rule reads.

        Raises:
            ScanError: the path does not follow the rule.
        """
        end = path.parts[-len(self._parts) :]
        found = self._expression.fullmatch("/".join(end))
        if found is None:
            raise ScanError(path, f"the name does not follow the rule {self.pattern}")
        fields = found.groupdict()
        word = fields["expression"]
        expression = _WORDS.get(word.lower(), word)
        level = int(fields["level"]) if fields.get("level") else None
        if level == 0 and expression not in EXPRESSION_CODES:  # a neutral face's, as in BU-3DFE's NE00
            level = None
        if level == 0:
            raise ScanIdError(path, f"level 0, expected 1 or more; write * in place of {{level}} in {self.pattern}")
        name = "_".join([*end[:-1], path.stem])
        return ScanId(database, fields["subject"], expression, level, None, name)

    def read_scan(self, path: Path) -> Scan:
        """Reads a mesh as `scans.meshes` does, under the identity that its path tells."""
        scan = meshes.read_scan(path)
        return dataclasses.replace(scan, id=self.scan_id(Path(path), scan.id.database))


def _regular(pattern: str, part: str) -> str:
    pieces = []
    for field, star, plain in _TOKEN.findall(part):
        if star:
            pieces.append("[^/]*")
        elif plain:
            pieces.append(re.escape(plain))
        elif field not in FIELDS:
            raise _refused(pattern, f"it holds {{{field}}}, expected {', '.join(f'{{{name}}}' for name in FIELDS)}")
        else:
            pieces.append(_GROUPS[field])
    return "".join(pieces)


def _refused(pattern: str, reason: str) -> DatasetError:
    return DatasetError(f"naming rule {pattern!r:.120}: {reason}; such as {{subject}}_{{expression}}.obj")
