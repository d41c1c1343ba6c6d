"""The authors' own recipes, as changes to the recipe `paper`: from the code of each paper and its documentation.

`paper` is the recipe that Adv-DPNP uses for all methods; it is also that of Bag of Tricks for AT (Pang et al. 2021),
and so is AT's here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Changes = Mapping[str, Any]

# The radius 8/255 and the step 2/255, as TRADES and its successors write them; PyTorch's usual crop pads with zeros.
_ROUNDED = {"eps": 0.031, "step_size": 0.007}
_ZERO_PADDED = {"mode": "zero"}
_TRADES = {"attack": _ROUNDED, "augmentation": _ZERO_PADDED}
_MNIST = {"eps": 0.3, "step_size": 0.01, "steps": 40}
# HAT's, for its helper too; PyTorch's one-cycle moves the momentum.
_ONE_CYCLE = {
    "schedule": "onecycle",
    "warmup": 0.25,
    "cycle_momentum": True,
    "lr": 0.21,
    "nesterov": True,
    "epochs": 50,
}
# FSR's and DIO's schedule, and FSR's weights.
_HUNDRED_EPOCHS = {"epochs": 100, "milestones": [0.75, 0.9]}
_FSR_WEIGHTS = {"temperature": 0.1, "lambda_sep": 1.0, "lambda_rec": 1.0}
# What an entry for "" covers: where most authors' scripts run.
_USUAL_DATA = ("cifar10", "cifar100")

# Defense -> (data, backbone) -> changes; "" stands for the usual data, or for every backbone. Later entries add to
# and replace earlier ones.
_OFFICIAL: dict[str, dict[tuple[str, str], Changes]] = {
    "st": {("", ""): {}},
    "at": {("", ""): {}},
    "trades": {
        ("", ""): {"recipe": {**_TRADES, "epochs": 76, "milestones": [75 / 76], "weight_decay": 2e-4}},
        ("mnist", ""): {
            "defense": {"beta": 1.0},
            "recipe": {
                "attack": _MNIST,
                "lr": 0.01,
                "weight_decay": 0.0,
                "epochs": 100,
                "milestones": [0.55, 0.75, 0.9],
            },
        },
    },
    "mart": {
        ("", ""): {
            "defense": {"beta": 5.0},
            "recipe": {
                **_TRADES,
                "lr": 0.01,
                "weight_decay": 3.5e-3,
                "epochs": 120,
                "milestones": [75 / 120, 90 / 120, 100 / 120],
            },
        },
        ("", "wrn-34-10"): {
            "defense": {"beta": 6.0},
            "recipe": {"lr": 0.1, "weight_decay": 7e-4, "epochs": 90, "milestones": [75 / 90]},
        },
    },
    "at-he": {
        ("", ""): {
            "defense": {"scale": 10.0, "margin": 0.2},
            "recipe": {**_TRADES, "epochs": 77, "milestones": [75 / 77]},
        },
    },
    # As Pang et al. 2020 run it beside AT_HE.
    "alp": {
        ("", ""): {
            "defense": {"beta": 0.5},
            "recipe": {**_TRADES, "epochs": 77, "milestones": [75 / 77]},
        },
    },
    "oc": {
        ("", ""): {
            "defense": {"scale": 10.0, "leverage": 0.15, "activation": "prelu", "initialization": "kaiming"},
            "recipe": {"epochs": 180, "milestones": [100 / 180, 150 / 180, 175 / 180]},
        },
    },
    # The radius of a batch is drawn from 0.02 to 0.05. Warm-up is ours: without it the network forgets its classes.
    "pcl": {
        ("", ""): {
            "defense": {
                "proximity": 1.0,
                "contrast": 1e-5,
                "proximity_lr": 0.5,
                "contrast_lr": 1e-5,
                "pretraining": 164,
            },
            "recipe": {
                "attack": {"eps": 0.05, "spread": 0.6, "start": "none"},
                "lr": 0.01,
                "weight_decay": 1e-4,
                "batch_size": 64,
                "epochs": 500,
                "milestones": [142 / 500, 230 / 500, 360 / 500],
            },
        },
    },
    "hat": {
        ("", ""): {
            "defense": {"beta": 2.5, "gamma": 0.5, "h": 2.0},
            "recipe": {**_ONE_CYCLE, "augmentation": _ZERO_PADDED},
        },
        ("svhn", ""): {"recipe": {**_ONE_CYCLE, "augmentation": {"padding": 0, "flip": False}}},
    },
    # Their code takes the number of classes, so CIFAR-100 trains as CIFAR-10 does.
    "fsr": {
        ("", ""): {"defense": _FSR_WEIGHTS, "recipe": {**_HUNDRED_EPOCHS, "augmentation": _ZERO_PADDED}},
        ("svhn", ""): {
            "defense": _FSR_WEIGHTS,
            "recipe": {**_HUNDRED_EPOCHS, "lr": 0.01, "augmentation": {"padding": 0, "flip": False}},
        },
    },
    # The margin of every network that they trained adversarially; a ResNet-18 on CIFAR-100 is not among them.
    "dio": {
        ("", ""): {
            "defense": {"heads": 10, "alpha": 0.1, "beta": 0.1},
            "recipe": {**_HUNDRED_EPOCHS, "augmentation": _ZERO_PADDED},
        },
        ("cifar10", ""): {"defense": {"tau": 0.2}},
        ("cifar10", "wrn-34-10"): {"defense": {"tau": 0.5}},
        ("cifar100", ""): {"defense": {"tau": 0.1}},
        ("cifar100", "wrn-34-20"): {"defense": {"tau": 0.2}},
    },
    # Their ramp: eps grows over all epochs, always 5 iterations of half the radius (their
    # schedule by quarters of the training has no effect, since its last line overrides the others).
    "ikl": {
        ("", ""): {
            "defense": {"alpha": 4.0, "beta": 20.0, "temperature": 4.0},
            "recipe": {
                "attack": {"step_size": 4 / 255, "steps": 5, "ramp": 1.0},
                "augmentation": _ZERO_PADDED,
                "schedule": "cosine",
                "lr": 0.2,
                "epochs": 200,
                # From their epoch 10, counted from 1.
                "weight_perturbation": {"gamma": 0.005, "start": 9 / 200},
                "averaging": {"kind": "ema", "decay": 0.9996, "start": 150 / 200},
            },
        },
        ("cifar100", ""): {"defense": {"inner_loss": "sce+wmse"}},
    },
}


def official_changes(defense: str, data: str, backbone: str) -> Iterator[Changes]:
    """What the authors' recipe changes of the recipe `paper`, to be merged in this order.

    Args:
        defense: name of the method.
        data: name of the data set.
        backbone: name of the network.
    Raises:
        ValueError: the authors have no recipe for this, or none but `paper`.
    """
    if defense not in _OFFICIAL:
        raise ValueError(f"{defense} has no official recipe but paper; there is one for {', '.join(_OFFICIAL)}")
    covered = dict.fromkeys(name for on, _ in _OFFICIAL[defense] for name in ([on] if on else _USUAL_DATA))
    if data not in covered:
        raise ValueError(f"{defense} has an official recipe for {', '.join(covered)}; got {data}: use --recipe paper")
    for (on_data, on_backbone), changes in _OFFICIAL[defense].items():
        if (data == on_data or (not on_data and data in _USUAL_DATA)) and on_backbone in ("", backbone):
            yield changes
