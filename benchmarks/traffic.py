"""Counts the bytes that a compiled program moves between a GPU's memory and its cores, kernel by kernel.

A kernel reads each operand once and writes its result once; what it reads in part (a slice, rows that are gathered)
counts in part. Nothing stays in a cache from one kernel to the next, so the count is an upper bound for small arrays
and close for those of a training step.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import re

from benchmarks.hlo import Instruction, Module

KINDS = ("convolution", "normalisation", "elementwise", "reductions", "matmul", "optimizer", "rendering", "movement")
# What moves nothing: names for memory that another instruction reads or wrote.
_FREE = ("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id", "while")
_FREE_ENDS = ("-done", "-update")  # of what was started, and counted, before
_MOVES = {"copy", "transpose", "slice", "dynamic-slice", "dynamic-update-slice", "concatenate", "pad", "reverse"}
_MOVES |= {"bitcast", "reshape", "broadcast", "parameter", "constant", "tuple", "get-tuple-element", "gather", "iota"}
# What reads, of an operand that is larger than the result, no more than the result has.
_ONE_FOR_ONE = {
    "slice",
    "dynamic-slice",
    "gather",
    "pad",
    "broadcast",
    "select",
    "tuple",
    "dynamic-update-slice",
}


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One kernel of a step.

    Attributes:
        name: of its instruction.
        kind: of KINDS.
        bytes: it reads and writes.
        flops: of a convolution; 0 for all else, which takes as long as its bytes do.
    """

    name: str
    kind: str
    bytes: int
    flops: int = 0


def kernels(module: Module) -> list[Kernel]:
    """Kernels of one step: those of the body of the program's largest loop, or of all of it where it has none."""
    body = max((module.computations[b] for b in _loop_bodies(module)), key=len, default=None)
    step = module.computations[module.entry] if body is None or len(body) < 100 else body
    by_name = {instruction.name: instruction for instruction in step}
    return [
        Kernel(one.name, _kind(one, module), _moved(one, by_name, module), _flops(one, by_name))
        for one in step
        if one.opcode not in _FREE and not one.opcode.endswith(_FREE_ENDS)
    ]


def bytes_by_kind(found: list[Kernel]) -> dict[str, int]:
    """Bytes of all kernels of each kind, in the order of KINDS."""
    totals: collections.Counter[str] = collections.Counter()
    for kernel in found:
        totals[kernel.kind] += kernel.bytes
    return {kind: totals[kind] for kind in KINDS}


def seconds(found: list[Kernel], *, flops_per_second: float, bytes_per_second: float) -> float:
    """Least time of all kernels one after the other: each takes its arithmetic or its bytes, whichever is longer."""
    return sum(max(kernel.flops / flops_per_second, kernel.bytes / bytes_per_second) for kernel in found)


def _flops(one: Instruction, by_name: dict[str, Instruction]) -> int:
    """Operations of a convolution by cuDNN, forward or either gradient: 2 × outputs × window × input channels."""
    target = re.search(r'custom_call_target="__cudnn\$conv(\w+)"', one.attributes)
    labels = re.search(r"dim_labels=\w+_(\w+)->", one.attributes)
    if not target or not labels:
        return 0
    first, second = (by_name[name] for name in one.operands[:2])
    outputs, kernel = {"BackwardInput": (first, second), "BackwardFilter": (second, one)}.get(
        target.group(1), (one, second)
    )
    features = kernel.dimensions[labels.group(1).index("o")]
    return 2 * math.prod(outputs.dimensions) * math.prod(kernel.dimensions) // features


def _loop_bodies(module: Module) -> list[str]:
    bodies = (i.called("body") for c in module.computations.values() for i in c if i.opcode == "while")
    return [body for body in bodies if body is not None]


def _inside(one: Instruction, module: Module) -> list[Instruction]:
    """Instructions that a kernel computes: of its fusion, or itself."""
    return module.computations.get(one.called("calls") or "", []) or [one]


def _moved(one: Instruction, by_name: dict[str, Instruction], module: Module) -> int:
    inside = _inside(one, module)
    if inside == [one]:
        sources = [by_name[name] for name in dict.fromkeys(one.operands) if name in by_name]
        return one.bytes + sum(s.bytes * _share(one.elements, one, s) // max(s.elements, 1) for s in sources)
    read = _demand(inside)
    return _written(one, inside) + sum(
        p.bytes * read[p.name] // max(p.elements, 1) for p in inside if p.opcode == "parameter"
    )


def _demand(inside: list[Instruction]) -> dict[str, int]:
    """Elements of each instruction of a fusion that its result needs, every use counted, up to all there are."""
    by_name = {instruction.name: instruction for instruction in inside}
    needed = dict.fromkeys(by_name, 0)
    needed[inside[-1].name] = inside[-1].elements  # the root comes last
    for one in reversed(inside):
        for name in one.operands:
            if name in by_name and not _is_overwritten(one, name):
                needed[name] = min(by_name[name].elements, needed[name] + _share(needed[one.name], one, by_name[name]))
    return needed


def _is_overwritten(one: Instruction, operand: str) -> bool:
    return one.opcode == "dynamic-update-slice" and operand == one.operands[0]


def _share(wanted: int, one: Instruction, operand: Instruction) -> int:
    """Elements of an operand that so many elements of a result need.

    As many as are wanted where an element is one of the operand's; else the same share of the operand as of the result:
    of what is summed, and of each part of what is put together.
    """
    if one.opcode in _ONE_FOR_ONE:
        return min(operand.elements, wanted)
    return math.ceil(operand.elements * min(1.0, wanted / max(one.elements, 1)))


def _written(one: Instruction, inside: list[Instruction]) -> int:
    """Bytes of a fusion's result; of an update in place, those of what is put in."""
    by_name = {instruction.name: instruction for instruction in inside}
    updates = [i for i in inside if i.opcode == "dynamic-update-slice"]
    return one.bytes - sum(u.bytes - by_name[u.operands[1]].bytes for u in updates)


def _kind(one: Instruction, module: Module) -> str:
    target = re.search(r'custom_call_target="([^"]*)"', one.attributes)
    if target and "conv" in target.group(1):
        return "convolution"
    inside = _inside(one, module)
    opcodes = {instruction.opcode for instruction in inside}
    if "convolution" in opcodes:
        return "convolution"
    names = [i.op_name for i in inside if i.op_name and i.opcode not in _MOVES] or [one.op_name]
    if (target or "dot" in opcodes) and not any("rendering" in name for name in names):
        return "matmul"
    for scope in ("optimizer", "normalisation", "rendering"):
        if sum(scope in name for name in names) > len(names) / 2:
            return scope
    if "reduce" in opcodes or one.opcode == "reduce":
        return "reductions"
    if opcodes <= _MOVES | {"convert"} and not opcodes & {"gather"}:
        return "movement"
    return "elementwise"
