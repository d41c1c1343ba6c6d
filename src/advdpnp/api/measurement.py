"""What every evaluation of a stored network has in common: its protocol, and the file that its numbers go to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from advdpnp import attacks, runs
from advdpnp.api.environment import environment, use_tf32
from advdpnp.attacks import ATTACKS, Attack, Suite, record, suite_names
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, Listener
from advdpnp.evaluation import evaluate as run_evaluation
from advdpnp.experiments.config import decode, nearest
from advdpnp.progress import Silent
from advdpnp.runs import Json, Run
from advdpnp.threat import eps_text

# A suite's name, a suite, or attacks, as objects or as texts such as "pgd:eps=0.3,steps=40,step_size=0.01".
Protocol = str | Suite | Sequence[Attack | str]


def attack_by_hand(text: str, eps: float) -> Attack:
    """The attack in "NAME:field=value,...", such as "pgd:eps=0.3,steps=40,step_size=0.01".

    Args:
        text: name of an attack and its fields; budgets are numbers or fractions.
        eps: radius where the text gives none.
    Raises:
        ValueError: unknown name, field or value; the nearest ones are listed.
    """
    name, _, rest = text.partition(":")
    if name not in ATTACKS:
        raise ValueError(f"unknown attack {name!r}; nearest: {nearest(name, ATTACKS)}")
    values: dict[str, str | float] = {}
    for part in rest.split(",") if rest else ():
        field, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or field in values:
            raise ValueError(f"--attack takes NAME:field=value,... with each field once; got {part!r} in {text!r}")
        values[field] = value
    kind: Any = ATTACKS[name]
    attack: Attack = decode(kind, {"eps": eps} | values, name)
    return attack


def suite_of(
    protocol: Protocol, usual_eps: float, pixels: int, eps: float | None = None, name: str = "custom"
) -> Suite:
    """The suite that a caller asks for.

    Args:
        protocol: a suite's name, a suite, or attacks.
        usual_eps: the data set's radius.
        pixels: values of one image.
        eps: another radius; a suite by name is then named after it, so that results do not meet.
        name: what a list of attacks is called.
    Raises:
        ValueError: unknown names, no attacks, or a name that a suite has already.
    """
    if isinstance(protocol, Suite):
        if eps is not None:
            raise ValueError("eps changes a suite by name; got a suite, whose attacks have radii of their own")
        return protocol
    radius = usual_eps if eps is None else eps
    if isinstance(protocol, str):
        found = attacks.suite(protocol, radius, pixels)
        return found if radius == usual_eps else replace(found, name=f"{protocol}-eps-{_slug(eps_text(radius))}")
    if name in suite_names() or not re.fullmatch(r"[\w.+-]+", name):
        raise ValueError(f"attacks by hand need a name of their own, of letters, digits and ._+- alone; got {name!r}")
    members = tuple(attack_by_hand(one, radius) if isinstance(one, str) else one for one in protocol)
    if not members:
        raise ValueError("a suite needs at least one attack; for none, the suite is called clean")
    return Suite(name, "attacks by hand", members, features=None)


def _slug(text: str) -> str:
    return text.replace("/", "-")


@dataclass(frozen=True)
class Measurement:
    """One evaluation whose result is stored in a run's folder.

    Args:
        run: the folder.
        suite: the attacks.
        images: the test set, on the network's device.
        facts: further entries of the result.
        limit: the first so many images; None for all.
        other_data: name of the test set, if it is not the run's own.
    """

    run: Run
    suite: Suite
    images: Images
    facts: Json
    limit: int | None = None
    other_data: str = ""

    @property
    def stem(self) -> str:
        """<suite>, or <suite>@<data> on another test set."""
        return self.suite.name + (f"@{_slug(self.other_data)}" if self.other_data else "")

    @property
    def path(self) -> Path:
        return self.run.eval_path(f"{self.stem}.json")

    def check_free(self) -> None:
        """Raise ValueError if the file holds a suite of the same name with other attacks."""
        if self.suite.name in suite_names() or not self.path.is_file():
            return
        wanted = [record(attack) for attack in self.suite.attacks]
        rows = runs.read_json(self.path)["attacks"]
        stored = [{key: row.get(key) for key in budget} for row, budget in zip(rows, wanted, strict=False)]
        if len(rows) != len(wanted) or stored != wanted:
            raise ValueError(f"{self.path} holds other attacks: call yours something else with --suite, or remove it")

    def measure(
        self, model: nn.Module, device: torch.device, resume: bool, listener: Listener | None, **entries: object
    ) -> Json:
        """Attack the network, write and return the result; `entries` are added to it."""
        use_tf32(False)
        self.check_free()
        partial = self.run.eval_path(f"{self.stem}.partial.json")
        n = len(self.images) if self.limit is None else self.limit
        wanted = Evaluation(suite=self.suite, n=n, facts=self.facts, partial=partial, resume=resume)
        result = run_evaluation(model, self.images, wanted, listener or Silent())
        result |= {**entries, "environment": environment(device)}
        runs.write_json(self.path, result)
        partial.unlink()
        return result
