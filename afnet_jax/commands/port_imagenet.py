"""Turns published ResNet18 weights into a checkpoint that `config.model.pretrained` takes.

    afnet port-imagenet --weights=resnet18-f37072fd.pth --out=weights/resnet18

Reads torchvision's, timm's and transformers' names from .pth (needs PyTorch) and .safetensors (does not).
"""

from __future__ import annotations

from afnet_jax.commands.command_line import command_parser, report_faults


def main(argv: list[str] | None = None) -> int:
    parser = command_parser(__doc__)
    parser.add_argument("--weights", required=True, metavar="FILE", help="published weights of a ResNet18")
    parser.add_argument("--out", required=True, metavar="DIR", help="new folder for the checkpoint")
    args = parser.parse_args(argv)

    def port() -> None:
        from afnet_jax.models.pretrained import save_ported  # not above: --help must not wait for JAX

        trunk = save_ported(args.weights, args.out)
        values = sum(tensor.size for tensor in trunk.tensors.values())
        print(f"{args.out}: {len(trunk.tensors)} tensors, {values:,} values from {args.weights}")

    return report_faults(port)
