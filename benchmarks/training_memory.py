"""Counts the memory that trainings take, by compiling their programs for a GPU on a machine that needs none.

    python -m benchmarks.training_memory [--again]

`training/group_size.py` has the model that is held to the counts. As with `benchmarks.gpu_programs`, JAX with CUDA is
needed in a venv of its own, and what is stored already is passed over.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import jax

from benchmarks.gpu_programs import compile_apart, versions
from benchmarks.programs import Shape, make_program

PATH = Path(__file__).parent / "training-memory.json"
# Variant, dtype, image size, batch, folds.
_COUNTED = [
    ("afnet", "bfloat16", 224, 32, 10),
    ("afnet", "bfloat16", 224, 32, 5),
    ("afnet", "bfloat16", 64, 32, 5),
    ("afnet", "float32", 224, 32, 5),
    ("texture", "bfloat16", 224, 32, 5),
    ("texture", "float32", 64, 32, 5),
    ("no_ma", "float32", 112, 32, 5),
    ("fuse_1234", "bfloat16", 112, 16, 5),
    ("afnet", "bfloat16", 64, 32, 10),
    ("afnet", "bfloat16", 224, 32, 1),
    ("afnet", "bfloat16", 224, 32, 20),
]
_SETTINGS = ("variant", "dtype", "image_size", "batch", "folds")


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts the memory of trainings from programs compiled for a GPU.")
    parser.add_argument("--again", action="store_true", help="count also what is stored")
    parser.add_argument("--limit", type=int, default=1800, help="seconds that one program may take")
    arguments = parser.parse_args()
    stored = json.loads(PATH.read_text()) if PATH.exists() else {"rows": []}
    rows = {tuple(row[key] for key in _SETTINGS): row for row in stored["rows"]}
    for settings in _COUNTED:
        if settings not in rows or arguments.again:
            rows[settings] = _count(dict(zip(_SETTINGS, settings, strict=True)), arguments.limit)
            PATH.write_text(_to_text(list(rows.values())))
            print(rows[settings], flush=True)


def _count(settings: dict, limit: int) -> dict:
    shape = Shape("cuda", **settings)
    row = compile_apart("train", shape, count_bytes=True, limit=limit)
    if not row["compiles"]:
        sys.exit(f"{settings}: does not compile, {row['fault']}")
    state = make_program("train", shape).arguments[0]
    return {
        **settings,
        "state_bytes": sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)),
        **{key: row[key] for key in ("temporary_bytes", "convolution_calls")},
        "versions": versions(),
    }


def _to_text(rows: list[dict]) -> str:
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    return f'{{\n "command": "python -m benchmarks.training_memory",\n "rows": [\n{lines}\n ]\n}}\n'


if __name__ == "__main__":
    main()
