"""Reads the text of a compiled XLA program: its computations, and what each instruction takes and gives."""

from __future__ import annotations

import dataclasses
import math
import re

_BITS = {"pred": 8, "token": 0, "opaque": 0, "bf16": 16, "c64": 64, "c128": 128}
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_INSTRUCTION = re.compile(r"\s+(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = (?P<rest>.*)")
_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) (\(.*\) -> .* )?\{$")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
        name: of the instruction.
        opcode: what it does: "fusion", "custom-call", …
        bytes: of its result, all parts of a tuple together.
        elements: of its result, likewise.
        shape: of its result, as the text has it.
        operands: names of the instructions that it reads.
        attributes: the rest of the line.
    """

    name: str
    opcode: str
    bytes: int
    elements: int
    shape: str
    operands: tuple[str, ...]
    attributes: str

    @property
    def op_name(self) -> str:
        """Where the source asked for it, as JAX puts it: "jit(f)/jvp(scope)/add"."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found.group(1) if found else ""

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Shape of its result, or of the first part of a tuple."""
        found = _ARRAY.search(self.shape)
        return tuple(map(int, filter(None, found.group(2).split(",")))) if found else ()

    def called(self, attribute: str) -> str | None:
        """Name of the computation that an attribute ("calls", "body") names."""
        found = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.attributes)
        return found.group(1) if found else None


@dataclasses.dataclass(frozen=True)
class Module:
    """A program: computations by name, each a list of instructions, and the name of the one that is called first."""

    computations: dict[str, list[Instruction]]
    entry: str


def read_module(text: str) -> Module:
    """The text of `compiled.as_text()` -> its computations."""
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            current = computations.setdefault(found["name"], [])
            entry = found["name"] if found["entry"] else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (found := _INSTRUCTION.match(line)):
            current.append(_instruction(found["name"], found["rest"]))
    return Module(computations, entry)


def _instruction(name: str, rest: str) -> Instruction:
    shape_end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    shape, rest = rest[:shape_end], rest[shape_end:].strip()
    opening = rest.index("(")
    closing = _closing(rest, opening)
    operands = tuple(re.findall(r"%([\w.\-]+)", rest[opening:closing]))
    attributes = rest[closing + 1 :]
    if "custom_call_target" in attributes:  # whose last result is scratch memory
        shape = re.sub(r", [su]8\[\d+\]\S*\)$", ")", shape)
    return Instruction(name, rest[:opening], *_size(shape), shape, operands, attributes)


def _closing(text: str, opening: int) -> int:
    """Index of the bracket that closes the one at `opening`."""
    depth = 0
    for index in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index
    raise ValueError(f"unbalanced brackets: {text[:80]}")


def _size(shape: str) -> tuple[int, int]:
    """Bytes and elements of an array's or a tuple's shape."""
    arrays = _ARRAY.findall(re.sub(r"/\*.*?\*/", "", shape))
    counts = [math.prod(map(int, filter(None, dims.split(",")))) for _, dims in arrays]
    bits = sum(_item_bits(kind) * count for (kind, _), count in zip(arrays, counts, strict=True))
    return bits // 8, sum(counts)


def _item_bits(kind: str) -> int:
    if kind in _BITS:
        return _BITS[kind]
    found = re.match(r"[a-z]+?(\d+)", kind)
    return int(found.group(1)) if found else 0
