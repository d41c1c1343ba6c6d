"""The official AutoAttack code (package pyautoattack 0.2.0), run in a process of its own.

Its check for dynamic defenses switches Python's trace function off, and its seeds are those of the global generator:
neither belongs into the process of the tests. `official` and `official_each` are called by tests; the file itself is
the other process.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import warm

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}

Order = dict[str, Any]


def order(attack: str, norm: str, eps: float, *, seed: int = 0, batch_size: int | None = None, **budget: Any) -> Order:
    """One attack of the official code.

    Args:
        attack: "apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square", or "standard" for all of standard AutoAttack.
        norm, eps: threat model.
        seed: of each batch.
        batch_size: whole by default.
        budget: fields of the attack there, such as n_iter, n_queries, n_restarts, n_target_classes.
    """
    return {
        "attack": attack,
        "norm": NORMS[norm],
        "eps": eps,
        "seed": seed,
        "batch_size": batch_size,
        "budget": budget,
    }


def same(search: Any, seed: int = 0) -> Order:
    """The official attack of the name and the budget of one of ours."""
    budget = {"n_queries" if search.name == "square" else "n_iter": search.steps, "n_restarts": search.restarts}
    if hasattr(search, "targets"):
        budget["n_target_classes"] = search.targets
    return order(search.name, search.norm, search.eps, seed=seed, **budget)


def official(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: str,
    norm: str,
    eps: float,
    *,
    seed: int = 0,
    batch_size: int | None = None,
    timeout: float = 1800,
    **budget: Any,
) -> tuple[Tensor, Tensor]:
    """What the official code makes of the images with one attack: Args of `order`, Returns of `official_each`."""
    wanted = order(attack, norm, eps, seed=seed, batch_size=batch_size, **budget)
    return official_each(model, x, y, [wanted], timeout)[0]


def official_each(
    model: nn.Module, x: Tensor, y: Tensor, orders: list[Order], timeout: float = 1800
) -> list[tuple[Tensor, Tensor]]:
    """What the official code makes of the images with each of several attacks, in one other process.

    Args:
        model: picklable, in eval mode, on the CPU.
        x, y: images and labels.
        orders: see `order` and `same`; each attack starts from the images themselves.
        timeout: seconds until the other process is given up.
    Returns:
        (robust, x_adv) for each order: (B,) bool, True where the image is still classified correctly, and the attacked
        images.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "asked.pt"), Path(folder, "answered.pt")
        torch.save({"model": model, "x": x, "y": y, "orders": orders}, asked)
        command = ["-W", "ignore", "-m", "reference.official_autoattack", str(asked), str(answered)]
        # From the folder of the tests, so that networks of the tests can be unpickled.
        done = warm.run(command, timeout=timeout, cwd=Path(__file__).parents[1])
        assert done.returncode == 0, done.stderr
        return torch.load(answered, weights_only=True)


def _attack(model: nn.Module, order: Order) -> Any:
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
    from pyautoattack.fab_pt import FABAttack_PT
    from pyautoattack.square import SquareAttack

    how = {"eps": order["eps"], "norm": order["norm"], "seed": order["seed"], "device": "cpu", **order["budget"]}
    if order["attack"] in ("apgd-ce", "apgd-dlr"):
        return APGDAttack(model, loss=order["attack"].removeprefix("apgd-"), **how)
    if order["attack"] == "apgd-t":
        return APGDAttack_targeted(model, **how)
    if order["attack"] == "fab-t":
        return FABAttack_PT(model, targeted=True, **{"n_restarts": 1, **how})
    return SquareAttack(model, resc_schedule=False, **{"n_restarts": 1, **how})


def _attacked(model: nn.Module, x: Tensor, y: Tensor, order: Order, batch: int) -> Tensor:
    if order["attack"] == "standard":
        from pyautoattack import AutoAttack

        whole = AutoAttack(model, eps=order["eps"], norm=order["norm"], seed=order["seed"], version="standard")
        return whole.run_standard_evaluation(x, y, batch_size=batch)[0]
    parts = zip(x.split(batch), y.split(batch))
    return torch.cat([_attack(model, order).perturb(a.clone(), b.clone()) for a, b in parts])


def _answer(model: nn.Module, x: Tensor, y: Tensor, order: Order) -> tuple[Tensor, Tensor]:
    batch = order["batch_size"] or len(x)
    x_adv = _attacked(model, x, y, order, batch).detach()
    with torch.no_grad():
        logits = torch.cat([model(part) for part in x_adv.split(batch)])
    return logits.argmax(dim=1) == y, x_adv


def main(asked: str, answered: str) -> None:
    torch.set_num_threads(1)
    question = torch.load(asked, weights_only=False)
    model, x, y = question["model"], question["x"], question["y"]
    torch.save([_answer(model, x, y, wanted) for wanted in question["orders"]], answered)


if __name__ == "__main__":
    main(*sys.argv[1:])
