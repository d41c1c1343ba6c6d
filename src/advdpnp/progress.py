"""Progress and results for people: bars with the time left on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from advdpnp.attack_words import aim_text, radii_texts, tier_text, worst_case_name
from advdpnp.callbacks import Silent
from advdpnp.indices import first_or_chosen, image_count, short_indices
from advdpnp.results import Accuracy, AttackKey
from advdpnp.runs import Json
from advdpnp.stored_values import shown_text


def duration(seconds: float) -> str:
    """ "45 s", "12 min" or "3.5 h"; never less than a second."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def forecast_text(seconds: float) -> str:
    """The line before an evaluation."""
    return f"evaluation takes at most about {duration(seconds)}"


def epoch_text(line: Json) -> str:
    """One epoch in one line."""
    loss, held = line["loss"], line["holdout"]
    terms = "  ".join(f"{name} {value:.4f}" for name, value in loss.items() if name != "total")
    text = f"epoch {line['epoch']:>3}/{line['epochs']}  lr {line['lr']:g}  loss {loss['total']:.4f}  ({terms})"
    if held:
        text += f"  held out: clean {held['clean_accuracy']:.1%}, robust {held['robust_accuracy']:.1%}"
    return text


def result_text(result: Json) -> str:
    """A result file as a small table, percent with 95 % intervals."""

    def row(name: str, found: Accuracy) -> str:
        left = f"  {found.unevaluated} unevaluated" if found.unevaluated else ""
        return f"{name:<44} {found.value:7.2%}  [{found.low:.2%}, {found.high:.2%}]{left}"

    lines = [f"{result['data']}, {_images_text(result)}, checkpoint {result['checkpoint']}, suite {result['suite']}"]
    if "search_precision" in result:
        lines.append(f"searches were made in {result['search_precision']}, verdicts in fp32")
    lines += _manner_text(result)
    lines.append(row("clean", Accuracy.read(result, "clean")))
    lines += _other_answers_text(result.get("clean_other_answers", {}))
    for attack in result["attacks"]:
        lines.append(row(_attack_text(attack), Accuracy.read(attack)))
        lines += _other_answers_text(attack.get("other_answers", {}))
        for tier in attack.get("tiers", ()):
            lines.append(row(f"  {tier['name']} alone", Accuracy.read(tier)))
        searches = attack.get("searches", ())
        for text, search in zip(_search_texts(searches), searches, strict=True):
            lines.append(row(f"  after {text}", Accuracy.read(search)))
        lines += [f"  {tier_text(tier, attack['robust_accuracy'], result['n'])}" for tier in attack.get("tiers", ())]
        lines += [f"  {text}" for text in _remarks(attack)]
    worst_case = Accuracy.read(result, "worst case")
    if "corruptions" in result:
        lines += corruptions_text(result["corruptions"], result["corruption_source"], result["n"])
    else:
        attacks = [(attack["name"], attack["steps"]) for attack in result["attacks"]]
        lines.append(row(worst_case_name(attacks), worst_case))
    if worst_case.unevaluated:
        lines.append("unevaluated: not broken, but the gradient was not finite; the intervals allow for either verdict")
    lines += [f"warning: {text}" for text in result.get("warnings", ())]
    lines += _seeds_text(result.get("seeds"))
    return "\n".join(lines)


def _manner_text(result: Json) -> list[str]:
    """How the network was asked, and where adversarial images come from, if not as usual."""
    lines = []
    if "eot" in result:
        lines.append(f"a randomized network: attacks and verdicts follow the mean of {result['eot']} draws")
    if "transfer" in result:
        source = result["transfer"]
        lines.append(
            f"transfer: images are crafted on {source['source']} (weights {source['weights'][:12]}), judged here"
        )
    return lines


def corruptions_text(found: Json, source: str, n: int) -> list[str]:
    """Accuracy under common corruptions as a table: percent, a line for each, a column for each severity."""
    n_severities = len(found["severity_accuracy"])
    whole = "published CIFAR-10-C" if source == "published" else f"{source}, not CIFAR-10-C"
    lines = [f"{f'corruptions ({source})':<24}" + "".join(f"{k:>8}" for k in range(1, n_severities + 1)) + "    mean"]
    for name, right in found["right"].items():
        shares = [*(count / n for count in right), found["corruption_accuracy"][name]]
        lines.append(f"  {name:<22}" + "".join(f"{share:>8.2%}" for share in shares))
    means = [*found["severity_accuracy"], found["mean_accuracy"]]
    lines.append(f"  {'mean':<22}" + "".join(f"{share:>8.2%}" for share in means))
    low, high = found["interval95"]
    name = f"mean over {len(found['right'])} corruptions x {n_severities}"
    return [*lines, f"{name:<44} {found['mean_accuracy']:7.2%}  [{low:.2%}, {high:.2%}]  ({whole})"]


def _other_answers_text(answers: dict[str, float]) -> list[str]:
    return [f"  {f'{name} alone, on the same images':<42} {value:7.2%}" for name, value in answers.items()]


def _images_text(result: Json) -> str:
    if "shard" in result:
        part, parts = result["shard"]
        return f"shard {part} of {parts}: {image_count(result['n'])} ({short_indices(result['indices'])})"
    return first_or_chosen(result["indices"], result["n"])


def _attack_text(attack: Json) -> str:
    steps = "" if attack["steps"] is None else f", {attack['steps']} steps"
    size = "" if attack["step_size"] is None else f" of {attack['step_size']}"
    settings = "".join(f", {text}" for text in AttackKey.read(attack).settings_texts)
    return f"{attack['name']} {attack['norm']} {attack['eps']}{steps}{size}{settings}"


def _search_texts(searches: Sequence[Json]) -> list[str]:
    """The searches of an attack, with what tells them from others of the same name."""
    texts = [", ".join([search["name"], *AttackKey.read(search).settings_texts]) for search in searches]
    return [
        f"{text}, {search['restarts']} x {search['steps']} steps" if texts.count(text) > 1 else text
        for text, search in zip(texts, searches, strict=True)
    ]


def _remarks(attack: Json) -> list[str]:
    """Remarks on the result of an attack."""
    remarks = list(attack.get("notes", ()))
    if "targeted" in attack:
        remarks.append(aim_text(attack["targeted"]))
    remarks += radii_texts(attack)
    if attack["name"] == "autoattack-quick":
        remarks.append("a first look: under AutoAttack itself the accuracy is at most this")
    if attack.get("unconfirmed"):
        where = "misclassified where the attack searched, but not by the network itself"
        remarks.append(f"{attack['unconfirmed']} of the images: {where}")
    return remarks


def _seeds_text(seeds: Json | None) -> list[str]:
    if seeds is None:
        return []
    corrupted = [{"name": "mean over corruptions", **seeds["corruptions"]}] if "corruptions" in seeds else []
    rows = [*seeds["attacks"], *corrupted, {"name": "worst case", **seeds["worst_case"]}]
    return [f"over {seeds['count']} seeds of the attacks:"] + [
        f"  {row['name']:<42} {row['mean']:7.2%}  spread {row['spread']:.2%}"
        + (f"  unevaluated {', '.join(map(str, row['unevaluated']))}" if "unevaluated" in row else "")
        for row in rows
    ]


def comparison_text(rows: list[Json]) -> str:
    """A paired test as a small table."""
    width = max(24, *(len(row["name"]) for row in rows))
    lines = [f"{'':<{width}}    first   second   only first  only second        p"]
    for row in rows:
        counts = f"{row['only_first']:>12} {row['only_second']:>12} {row['p']:>8.2g}"
        left_out = f"  {row['left_out']} unevaluated images left out" if "left_out" in row else ""
        lines.append(f"{row['name']:<{width}} {row['first']:>8.2%} {row['second']:>8.2%} {counts}{left_out}")
    return "\n".join(lines)


class Lines(Silent):
    """Plain lines, for logs."""

    def __init__(self) -> None:
        self._training = TrainingClock()
        self._attack_began: float | None = None
        self._images_left = 0
        self._search = SearchClock()

    def _print(self, text: str) -> None:
        print(shown_text(text), file=sys.stderr, flush=True)

    def on_note(self, text: str) -> None:
        self._print(text)
        self._training.begin()

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        done = epoch * steps + step
        if (text := self._training.after_step(done, epochs * steps)) is not None:
            self._print(text)

    def on_epoch(self, line: Json) -> None:
        self._print(epoch_text(line))
        self._training.told()
        if line["epoch"] == line["epochs"]:
            # The run of a helper network is followed by the run that needs it, which has a forecast of its own.
            self._training = TrainingClock()

    def on_forecast(self, seconds: float) -> None:
        self._print(forecast_text(seconds))

    def on_attack(self, name: str, images: int) -> None:
        self._print(f"{name}: {images} images" if images else f"{name}: done before")
        self._attack_began, self._images_left = time.monotonic(), images

    def on_images(self, images: int) -> None:
        first, self._images_left = self._attack_began, self._images_left - images
        if first is not None and self._images_left > 0:
            seconds = (time.monotonic() - first) * self._images_left / images
            if seconds > 10:
                self._print(f"  about {duration(seconds)}")
        self._attack_began = None

    def on_search(self, name: str, images: int, steps: int) -> None:
        self._print(f"{name}: {images} images" if steps else f"{name}: nothing left to do")
        self._search = SearchClock(steps)

    def on_steps(self, left: int, bound: float) -> None:
        if (seconds := self._search.due(left)) is not None:
            done = f"{self._search.share(left):.0%}, about {duration(seconds)} left"
            self._print(f"  {done}; robust accuracy is at most {bound:.1%}")


class TrainingClock:
    """Says how long a training will take: after its first step, when it has a good estimate, and then now and again."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._first: tuple[int, float] | None = None
        self._estimated = False

    def begin(self) -> None:
        """What was said last is said; until there is a step, the first one begins now."""
        self.told()
        if self._first is None:
            self._began = self._told

    def told(self) -> None:
        """A line was printed."""
        self._told = time.monotonic()

    def after_step(self, done: int, total: int) -> str | None:
        """The line that is due after `done` of `total` steps, if one is."""
        now, left = time.monotonic(), total - done
        if self._first is None:
            self._first = done, now
            # It holds what is done once: memory, kernels, perhaps compilation.
            took = now - self._began
            return self._say(f"the first step took {took:.2g} s; {left} left: about {duration(took * left)}", left)
        first, at = self._first
        per_step = (now - at) / (done - first)
        if not self._estimated and (now - at > 5 or done - first >= 20):
            self._estimated = True
            return self._say(f"{left} steps of {per_step:.3g} s: about {duration(left * per_step)}", left)
        if now - self._told > max(60, (now - at) / 10):
            return self._say(f"step {done} of {total}: about {duration(left * per_step)} left", left)
        return None

    def _say(self, text: str, left: int) -> str | None:
        if not left:
            return None
        self.told()
        return text


class SearchClock:
    """When a line of progress is due, and the time that is left: the first after 5 s, then one every 30 s.

    Args:
        steps: iterations of the search, at most.
    """

    def __init__(self, steps: int = 0) -> None:
        self._steps, self._began, self._next = steps, time.monotonic(), time.monotonic() + 5

    def share(self, left: int) -> float:
        """The fraction that is done, in [0, 1], with `left` iterations left."""
        return 1 - left / self._steps

    def due(self, left: int) -> float | None:
        """Seconds that `left` iterations take, if a line is due; else None."""
        now = time.monotonic()
        if now < self._next or not 0 < left < self._steps:
            return None
        self._next = now + 30
        return (now - self._began) * left / (self._steps - left)


class Bars(Silent):
    """Bars with time left, for terminals. A context manager."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, transient=True, console=Console(stderr=True))
        # Moves until the first step or attack is there to be counted.
        self._starting: Any = self._progress.add_task("starting", total=None)
        self._task: Any = None
        self._name, self._steps = "", 0

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def on_note(self, text: str) -> None:
        self._progress.console.print(shown_text(text), highlight=False, markup=False)

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        if self._task is None:
            self._task = self._begin("training", epochs * steps)
        self._progress.update(self._task, completed=epoch * steps + step, description=f"epoch {epoch + 1}/{epochs}")

    def on_epoch(self, line: Json) -> None:
        self._progress.console.print(shown_text(epoch_text(line)), highlight=False, markup=False)
        if line["epoch"] == line["epochs"] and self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None

    def on_forecast(self, seconds: float) -> None:
        self.on_note(forecast_text(seconds))

    def on_attack(self, name: str, images: int) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._begin(name, images)

    def _begin(self, name: str, total: int) -> Any:
        if self._starting is not None:
            self._progress.remove_task(self._starting)
            self._starting = None
        return self._progress.add_task(shown_text(name), total=total)

    def on_images(self, images: int) -> None:
        self._progress.advance(self._task, images)

    def on_search(self, name: str, images: int, steps: int) -> None:
        # The last part: with the whole name there is no room for bar and time on 80 columns.
        self._name, self._steps = name.rpartition(": ")[2], steps
        self.on_attack(self._name, steps)

    def on_steps(self, left: int, bound: float) -> None:
        description = f"{self._name}: at most {bound:.1%} robust"
        self._progress.update(self._task, completed=self._steps - left, description=description)
