"""Writes golden.json anew from the PyTorch reference: python -m tests.parity.make_golden"""

from __future__ import annotations

import json

from tests.parity.test_parity import GOLDEN
from tests.support.outcomes import ARCHITECTURES, pytorch, summary


def main() -> None:
    golden = {variant: summary(pytorch(variant, 64, "float64")) for variant in ARCHITECTURES}
    rounded = {v: {part: [float(f"{x:.8g}") for x in xs] for part, xs in parts.items()} for v, parts in golden.items()}
    lines = ",\n".join(f" {json.dumps(variant)}: {json.dumps(parts)}" for variant, parts in rounded.items())
    GOLDEN.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
