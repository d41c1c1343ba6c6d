"""Floors, under which a benchmark is red, and targets: one core of a CPU, PGD-10, equal work."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Floor:
    """What one number must reach.

    Args:
        name: for people.
        group: whose sides are compared.
        precision: of our side, in the engine that is the default.
        floor: below it a benchmark is red.
        target: what is aimed at.
        against: the side whose seconds are divided by ours; "" for the share of the ceiling that ours reaches.
        without_amx: the floor in bf16 on a processor with avx512_bf16 alone; None where none was set.
    """

    name: str
    group: str
    precision: str
    floor: float
    target: float
    against: str = ""
    without_amx: float | None = None


def _both(
    name: str,
    group: str,
    fp32: tuple[float, float],
    bf16: tuple[float, float],
    against: str = "",
    without_amx: float | None = None,
) -> tuple[Floor, Floor]:
    return (
        Floor(name, group, "fp32", *fp32, against=against),
        Floor(name, group, "bf16", *bf16, against=against, without_amx=without_amx),
    )


FLOORS: tuple[Floor, ...] = (
    *_both("resnet18, attack: share of the ceiling", "resnet18/attack", (0.75, 0.88), (0.45, 0.70)),
    *_both("resnet18, Adv-DPNP step: share of the ceiling", "resnet18/adv-dpnp-step", (0.70, 0.85), (0.38, 0.60)),
    *_both("resnet8, attack: over backward()", "resnet8/attack", (2.0, 3.0), (6.0, 10.0), "backward() loop", 2.7),
    *_both("resnet18, attack: over torchattacks", "resnet18/attack", (1.4, 1.7), (3.5, 6.0), "torchattacks", 1.8),
    *_both("resnet8, TRADES step", "resnet8/trades-step", (1.6, 2.5), (2.8, 5.0), "TRADES algorithm", 2.8),
    *_both("resnet18, TRADES step", "resnet18/trades-step", (1.6, 2.5), (2.8, 5.0), "TRADES algorithm", 2.8),
    *_both("resnet8, AT step: over ART's trainer", "resnet8/at-step", (1.35, 2.2), (2.3, 5.0), "ART trainer", 2.3),
    *_both("resnet8, AutoAttack", "resnet8/autoattack", (1.1, 2.0), (1.5, 3.0), "pyautoattack"),
    Floor("small CNN, AutoAttack", "cnn/autoattack", "fp32", 1.0, 1.5, "pyautoattack"),
    Floor("digits, AutoAttack", "digits/autoattack", "fp32", 1.0, 1.5, "pyautoattack"),
)
