"""RobustBench's record of a model: the fields of its model_info files, accuracies as text in percent.

The record is one of a linf leaderboard, at the radius that the field uses for the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from advdpnp.exporting.robustbench import Architecture
from advdpnp.ranges import eps_text, parse_eps
from advdpnp.results import Accuracy, AttackKey, EvaluationResult
from advdpnp.runs import Json

if TYPE_CHECKING:
    from advdpnp.exporting.exported_model import ExportedModel

LEADERBOARDS = ("cifar10", "cifar100")
NO_AUTOATTACK = "AutoAttack has not been run as published, and RobustBench takes no model without it."


@dataclass(frozen=True)
class PaperReference:
    """What a leaderboard asks of the authors; "" for not said.

    Args:
        link: of the paper.
        name: title of the paper.
        authors: names, with commas between them.
        venue: where it appeared.
    """

    link: str = ""
    name: str = ""
    authors: str = ""
    venue: str = ""


def _percent(accuracy: Accuracy | None) -> str | None:
    return None if accuracy is None else f"{100 * accuracy.value:.2f}"


def _own_results(exported: ExportedModel) -> list[EvaluationResult]:
    """Evaluations on the test images of the data that it was trained on, the ones of most images first."""
    own = [result for result in exported.results() if result.data == exported.experiment.data.name]
    return sorted(own, key=lambda result: -result.n)


def _label(key: AttackKey, suite: EvaluationResult) -> str:
    return key.label + ("" if suite.search_precision == "fp32" else f" searched in {suite.search_precision}")


def _at_radius(results: list[EvaluationResult], eps: str) -> list[tuple[str, int, Accuracy]]:
    return [
        (_label(key, result), result.n, accuracy)
        for result in results
        if result.transfer is None and result.eot == 1
        for key, accuracy in result.attacks.items()
        if key.norm == "linf" and parse_eps(key.eps) == parse_eps(eps)
    ]


def obstacles(exported: ExportedModel) -> list[str]:
    """Why the record cannot be submitted as it is, in sentences."""
    data, results = exported.experiment.data, _own_results(exported)
    attacks = _at_radius(results, eps_text(data.eps))
    found = []
    if not any(label == "AutoAttack" for label, _, _ in attacks):
        found.append(NO_AUTOATTACK)
    if data.name not in LEADERBOARDS:
        found.append(f"RobustBench has no leaderboard for {data.name}.")
    if not any(n == data.test_size for label, n, _ in attacks if label == "AutoAttack") and results:
        found.append(f"RobustBench wants all {data.test_size:,} test images, for clean accuracy and AutoAttack.")
    empty = [name for name in ("link", "name", "authors", "venue") if not getattr(exported.reference, name)]
    if empty:
        found.append(f"Not said: {', '.join(empty)} (options of `advdpnp export`).")
    return found


def model_info_json(exported: ExportedModel, network: Architecture) -> Json:
    """Content of robustbench.json; what was not measured is null.

    `reported` is the lowest robust accuracy that was measured at the radius, with any attack.

    Args:
        exported: what is exported.
        network: its architecture there.
    """
    data, reference, results = exported.experiment.data, exported.reference, _own_results(exported)
    eps = eps_text(data.eps)
    attacks = _at_radius(results, eps)
    weakest = min(attacks, key=lambda row: row[2].value, default=None)
    auto = next((accuracy for label, _, accuracy in attacks if label == "AutoAttack"), None)
    notes = [] if weakest is None else [f"Reported: {weakest[0]} on {weakest[1]:,} test images."]
    if weakest and weakest[2].unevaluated:
        notes.append(f"Not counted: {weakest[2].unevaluated} images without a finite gradient to attack along.")
    if auto is None:
        notes.append(NO_AUTOATTACK)
    return {
        "link": reference.link,
        "name": reference.name,
        "authors": reference.authors,
        "additional_data": False,
        "number_forward_passes": 1,
        "dataset": data.name,
        "venue": reference.venue,
        "architecture": network.label,
        "eps": eps,
        "clean_acc": _percent(results[0].clean if results else None),
        "reported": _percent(weakest[2] if weakest else None),
        "autoattack_acc": _percent(auto),
        "footnote": " ".join(notes),
        "unreliable": False,
    }
