"""The model card: README.md with front matter as model hubs read it, from stored facts only."""

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from advdpnp.exporting.exported_model import ExportedModel
from advdpnp.exporting.paper_reference import obstacles
from advdpnp.exporting.robustbench import architecture
from advdpnp.results import NORMS, Accuracy, EvaluationResult
from advdpnp.runs import Json
from advdpnp.stored_values import shown_text
from advdpnp.threat import eps_text

# Licenses that hubs know by these names; others are given as text.
_HUB_LICENSES = ("mit", "apache-2.0", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0")


def _percent(accuracy: Accuracy) -> str:
    return f"{100 * accuracy.value:.1f} %"


def _interval(accuracy: Accuracy) -> str:
    return f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f} %"


def _cell(text: object) -> str:
    """Text that is safe in a table of Markdown: names come from outside, and become no links, tags or code."""
    plain = " ".join(shown_text(str(text)).split())
    for sign, instead in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("[", "\\["), ("`", "\\`")):
        plain = plain.replace(sign, instead)
    return plain


def _code(text: object) -> str:
    """Text between backticks, where only these and the bars of tables mean something."""
    return " ".join(shown_text(str(text)).split()).replace("`", "'").replace("|", "\\|")


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _license(text: str) -> Json:
    name = text.strip()
    return {"license": name.lower()} if name.lower() in _HUB_LICENSES else {"license": "other", "license_name": name}


def _hub_results(suite: EvaluationResult) -> Json:
    metrics = [{"type": "accuracy", "name": "clean accuracy", "value": suite.clean.value}]
    for key, accuracy in suite.attacks.items():
        metrics.append({"type": "accuracy", "name": f"robust accuracy, {key.details}", "value": accuracy.value})
    metrics.append({"type": "accuracy", "name": f"worst case of {suite.name}", "value": suite.worst_case.value})
    dataset = {"name": suite.data, "type": suite.data, "split": "test"}
    return {"task": {"type": "image-classification"}, "dataset": dataset, "metrics": metrics}


def _front_matter(exported: ExportedModel) -> str:
    experiment, results = exported.experiment, exported.results()
    name = f"{experiment.defense.name} {experiment.backbone} {experiment.data.name} seed {experiment.seed}"
    matter: Json = {
        **_license(exported.license),
        "library_name": "advdpnp",
        "pipeline_tag": "image-classification",
        "tags": ["adversarial-robustness", "image-classification", experiment.defense.name, experiment.backbone],
        "datasets": [experiment.data.name],
        "metrics": ["accuracy"],
    }
    if results:
        matter["model-index"] = [{"name": name, "results": list(map(_hub_results, results))}]
    return yaml.safe_dump(matter, sort_keys=False, allow_unicode=True, width=100).strip()


def not_measured(exported: ExportedModel) -> list[str]:
    """What the stored results are silent about, in sentences."""
    results, data = exported.results(), exported.experiment.data
    attacks = [key for result in results for key in result.attacks]
    names = {key.name for key in attacks}
    found = []
    norm = exported.experiment.recipe.attack.norm
    whole = {"autoattack", "autoattack-plus"}
    if not any(key.name in whole and key.norm == norm for key in attacks):
        where = f" in {NORMS[norm]}" if names & whole else ""
        quick = "; its quick tier is no substitute" if "autoattack-quick" in names else ""
        found.append(f"AutoAttack has not been run{where}{quick}.")
    if not names & {*whole, "autoattack-quick", "square"}:
        found.append("No attack without gradients has been run, so hidden gradients would not have shown.")
    if not any(name.startswith("adaptive") for name in names):
        found.append("No attack on the defense's own training objective has been run.")
    for other in ("linf", "l2", "l1"):
        if all(key.norm != other for key in attacks):
            found.append(f"No {NORMS[other]} attack has been run.")
    if results and all(result.data == data.name and not result.corruptions for result in results):
        found.append("Images from elsewhere, such as common corruptions, have not been measured.")
    own = [result.n for result in results if result.data == data.name]
    if own and max(own) < data.test_size:
        found.append(f"Only {max(own):,} of the {data.test_size:,} test images have been attacked.")
    found.append("Nothing is certified: each number is what the attacks above left over, and a stronger attack may "
                 "leave less." if attacks else "Nothing is certified.")  # fmt: skip
    return found


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]


def _software(environment: Mapping[str, Any]) -> str:
    if not environment:
        return "not recorded"
    versions = ", ".join(
        f"{name} {environment[name]}" for name in ("advdpnp", "torch", "python") if name in environment
    )
    commit = str(environment.get("commit", "")) or "unknown"
    changed = ", with uncommitted changes" if environment.get("dirty") else ""
    return f"{versions} on {environment.get('device', '?')}, commit {commit}{changed}"


def _network(exported: ExportedModel, files: Sequence[Json]) -> Any:
    if all(file["format"] != "robustbench" for file in files):
        return None
    data = exported.experiment.data
    return architecture(exported.experiment.backbone, data.image_shape, data.num_classes)


def card(exported: ExportedModel, files: Sequence[Json], environment: Json) -> str:
    """Text of README.md.

    Args:
        exported: what is exported.
        files: entries of export.json, without the card itself.
        environment: of the export.
    """
    experiment, stored = exported.experiment, exported.stored
    attack = experiment.recipe.attack
    engine = jinja2.Environment(
        autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    engine.filters |= {"cell": _cell, "code": _code, "percent": _percent, "interval": _interval, "software": _software}
    template = Path(__file__).with_name("card.md.j2").read_text(encoding="utf-8")
    network = _network(exported, files)
    return engine.from_string(template).render(
        front_matter=_front_matter(exported),
        method=stored.method,
        method_line=_first_line(inspect.getmodule(type(experiment.defense))),
        experiment=experiment,
        data=experiment.data,
        attack=attack,
        norm=NORMS[attack.norm],
        eps=eps_text(attack.eps),
        step_size=eps_text(attack.step_size),
        parameters=sum(parameter.numel() for parameter in exported.model.parameters()),
        checkpoint=exported.checkpoint,
        epoch=exported.epoch,
        results=exported.results(),
        foreign=exported.other_results(),
        not_measured=not_measured(exported),
        fields=list(_leaves(stored.config)),
        files=files,
        formats={file["format"] for file in files},
        network=network,
        obstacles=obstacles(exported) if network else [],
        license=exported.license.strip(),
        trained=stored.environment,
        environment=environment,
    )
