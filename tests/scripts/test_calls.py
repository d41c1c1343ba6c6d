"""The calls on a pretended machine: what is begun, in which order, and that it ends in time, whatever goes wrong."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from advdpnp.runs import Json, write_json
from gpu import slot as slot_module
from gpu.calls import first_call, second_call, third_call
from gpu.processes import Stage
from gpu.scale import CHOICES, PAIR, REAL, Scale, chosen
from gpu.train import arm_experiment
from scripts.fakes import FakeSlot, FakeTime

FORWARDS = {"at": 23, "mean": 26, "sum": 26, "trades": 27, "ikl": 27}


@dataclass
class Machine:
    """How a machine behaves.

    Args:
        step: seconds of a training step of Adv-DPNP at batch 128, by engine; one that is missing does not run at all.
        disagrees: engines that do not train as the reference does.
        breaks: engines that fail in a training, and after how many epochs.
        start, measure, search: seconds.
        lacking: data that did not come.
        slower: factor between the ladder and a training.
        larger_batch: factor between images a second at batch 256 and at 128.
        ladder_crashes: how often the ladder takes its process with it.
        extra: seconds of an evaluation in the last call, for each image.
    """

    step: dict[str, float]
    folder: Path
    disagrees: tuple[str, ...] = ()
    breaks: dict[str, int] = field(default_factory=dict)
    start: float = 33.0
    measure: float = 27.3
    search: float = 57.0
    lacking: tuple[str, ...] = ()
    slower: float = 1.0
    larger_batch: float = 1.267
    ladder_crashes: int = 0
    extra: float = 0.013

    def __call__(self, stage: Stage) -> tuple[float, str, Json]:
        play: Callable[[Stage], tuple[float, str, Json]] = getattr(self, "_" + stage.job["what"])
        return play(stage)

    def _unpack(self, stage: Stage) -> tuple[float, str, Json]:
        return 5.0, "done", {"lacking": list(self.lacking)}

    def _engine(self, stage: Stage) -> tuple[float, str, Json]:
        engine = stage.facts["engine"]
        return 30.0, "failed" if engine in self.disagrees or engine not in self.step else "done", {}

    def _suites(self, stage: Stage) -> tuple[float, str, Json]:
        return 30.0, "done", {}

    def _compile(self, stage: Stage) -> tuple[float, str, Json]:
        return 50.0, "done", {}

    def _ladder(self, stage: Stage) -> tuple[float, str, Json]:
        rungs = {}
        for variant in stage.facts["rungs"]:
            name = f"{variant['engine']}/{variant['batch']}" + ("" if variant["benchmark"] else "/plain")
            if variant["engine"] not in self.step:
                rungs[name] = {"error": "RuntimeError: no"}
                continue
            larger = 1.0 if variant["batch"] == 128 else self.larger_batch
            seconds = self.step[variant["engine"]] * variant["batch"] / 128 / larger
            rungs[name] = {"seconds": seconds, "start_seconds": 12.0, "finite": True}
        if self.ladder_crashes:
            self.ladder_crashes -= 1
            return 5.0, "crashed: status -11", {"rungs": {}}
        return 40.0, "done", {"rungs": rungs}

    def _train(self, stage: Stage) -> tuple[float, str, Json]:
        engine, label, epochs = (stage.facts[name] for name in ("engine", "arm", "epochs"))
        steps = -(-50_000 // stage.facts["batch"])
        larger = stage.facts["batch"] / 128 / (1.0 if stage.facts["batch"] == 128 else self.larger_batch)
        epoch = self.slower * self.step.get(engine, 1.0) * steps * larger * FORWARDS[label] / 26
        found = {"engine": engine, "batch": stage.facts["batch"], "forwards": FORWARDS[label]}
        if engine not in self.step or engine in self.breaks:
            done = self.breaks.get(engine, 0)
            return self.start + done * epoch, "failed", {**found, "epoch_seconds": [epoch] * done}
        seconds = self.start + epochs * epoch
        # As a stage does: it stops before it is killed.
        if seconds > stage.seconds - slot_module.GRACE:
            return stage.seconds - 1.0, "out of time", found
        run = self.folder / "work" / "runs" / label / "cifar10" / "resnet18" / label / "seed-0"
        write_json(run / "config.json", {"recipe": {"epochs": epochs, "batch_size": stage.facts["batch"]}})
        write_json(run / "checkpoints" / "last.safetensors", {})
        return seconds, "done", {**found, "epoch_seconds": [epoch + self.start] + [epoch] * (epochs - 1)}

    def _measure(self, stage: Stage) -> tuple[float, str, Json]:
        if stage.name.startswith("extra-"):
            return 8.0 + stage.facts["limit"] * self.extra, "done", {}
        return (self.measure if stage.facts["suite"] == "text" else self.search), "done", {}

    def _weights(self, stage: Stage) -> tuple[float, str, Json]:
        return 10.0, "done", {}


# As the first GPU was, an NVIDIA H200.
FAST = {"step": 0.0163, "graph": 0.0205, "compiled": 0.0383, "folded": 0.0591, "eager": 0.0783}


@dataclass
class Played:
    """What happened in the three calls of one machine."""

    calls: list[FakeSlot]

    def names(self, number: int = 2) -> list[str]:
        return [stage.name for stage in self.calls[number - 1].begun]

    def trained(self) -> dict[str, tuple[str, int]]:
        """Engine and epochs of each training that ended well."""
        outcomes = [o for o in self.calls[-1].outcomes() if o["stage"].startswith("train-") and o["ended"] == "done"]
        return {outcome["arm"]: (outcome["engine"], outcome["epochs"]) for outcome in outcomes}


def play(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, calls: tuple[int, ...] = (1, 2, 3), scale: Scale = REAL
) -> Played:
    clock = FakeTime()
    monkeypatch.setattr(slot_module, "time", clock)
    made = []
    for number in calls:
        slot = FakeSlot(machine.folder, machine, clock, number, scale)
        (first_call, second_call, third_call)[number - 1](slot)
        assert clock.now <= slot.deadline + 1e-6, f"call {number} is over its time"
        made.append(slot)
        clock.now += 15.0
    return Played(made)


def test_on_a_machine_as_planned_everything_is_done_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = play(Machine(FAST, tmp_path), monkeypatch)
    assert played.names() == [
        "unpack", "train-at", "measure-at", "train-mean", "measure-mean", "train-sum", "measure-sum",
        "search-at", "search-mean", "search-sum",
    ]  # fmt: skip
    trained = played.trained()
    assert {engine for engine, _ in trained.values()} == {"step"}
    assert len({epochs for _, epochs in trained.values()}) == 1 and 11 <= trained["at"][1] <= 16
    assert played.names(3) == ["weights"]
    assert played.calls[2].begun[0].facts == {"arms": ["at", "mean"]}


def test_the_first_call_checks_before_it_times_and_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = play(Machine(FAST, tmp_path), monkeypatch, (1,))
    names = played.names(1)
    assert names[0] == "unpack" and names[-1] == "ladder"
    assert {f"smoke-{engine}" for engine in FAST} | {"smoke-suites"} < set(names)
    wanted = played.calls[0].begun[-1].facts["rungs"]
    assert [(variant["engine"], variant["batch"], variant["benchmark"]) for variant in wanted] == [
        ("step", 128, True), ("step", 256, True), ("step", 128, False), ("graph", 128, True), ("compiled", 128, True),
        ("folded", 128, True), ("eager", 128, True), ("step", 512, True),
    ]  # fmt: skip


def test_a_pair_is_trained_for_thirty_epochs_each_with_no_ladder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = play(Machine(FAST, tmp_path), monkeypatch, scale=PAIR)
    assert "ladder" not in played.names(1)
    assert {"compile-mean-256", "compile-at-256"} < set(played.names(1))
    assert played.names() == [
        "unpack", "train-at", "measure-at", "train-mean", "measure-mean", "search-at", "search-mean",
    ]  # fmt: skip
    assert played.trained() == {"at": ("step", 30), "mean": ("step", 30)}
    assert played.names(3) == ["weights", "extra-mean-fsr", "extra-at-fsr", "extra-mean-curve", "extra-at-curve"]


def test_other_arms_are_compiled_under_their_own_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = play(Machine(FAST, tmp_path), monkeypatch, scale=chosen("C:trades,ikl"))
    assert {name for name in played.names(1) if "compile-" in name} == {"compile-trades-256", "compile-ikl-256"}


def test_arms_are_chosen_by_name() -> None:
    scale = chosen("E:awp,mean")
    assert (scale.slot, [arm.label for arm in scale.arms]) == ("E", ["awp", "mean"])
    assert [(extra.arm, extra.suite) for extra in scale.extras][:2] == [("awp", "fsr"), ("mean", "fsr")]
    # What is new in an arm is in the first check.
    assert any("weight_perturbation" in setting for setting in scale.smoke_settings)
    assert chosen("pair") is PAIR and chosen("D:at").smoke_settings == REAL.smoke_settings
    for label, arm in CHOICES.items():
        assert arm.label == label and arm_experiment(arm, PAIR, 30, 256, "step").recipe.epochs == 30


@pytest.mark.parametrize("name", ["D:", "D:oc,", "oc,pcl", "d:oc", "D:oc,oc", "D:abc", ""])
def test_an_unknown_scale_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a scale is one of real, tiny, pair, full, tiny-full, or a row and arms"):
        chosen(name)


def test_a_search_without_time_in_the_second_call_is_made_in_the_third(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = play(Machine(FAST, tmp_path, start=70.0), monkeypatch, scale=PAIR)
    assert "search-mean" in played.names(3) and "search-at" not in played.names(3)


def test_an_extra_that_takes_too_long_is_ended_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = play(Machine(FAST, tmp_path, extra=1.0), monkeypatch, scale=PAIR)
    assert played.names(3) == ["weights", "extra-mean-fsr"]


def test_an_engine_that_disagrees_is_neither_timed_nor_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = play(Machine(FAST, tmp_path, disagrees=("step", "compiled")), monkeypatch)
    assert {engine for engine, _ in played.trained().values()} == {"graph"}
    timed = {variant["engine"] for variant in played.calls[0].begun[-1].facts["rungs"]}
    assert timed == {"graph", "folded", "eager"}


def test_a_failure_in_a_training_goes_to_the_next_engine_with_a_new_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = play(Machine(FAST, tmp_path, breaks={"step": 2, "graph": 0}), monkeypatch)
    assert played.names()[1:5] == ["train-at", "train-at.2", "train-at.3", "measure-at"]
    assert {engine for engine, _ in played.trained().values()} == {"compiled"}
    outcomes = [(o["stage"], o["engine"], o["ended"]) for o in played.calls[1].outcomes() if "epochs" in o]
    assert outcomes[:3] == [
        ("train-at", "step", "failed"), ("train-at.2", "graph", "failed"), ("train-at.3", "compiled", "done"),
    ]  # fmt: skip
    plans = slot_module.stored(tmp_path / "work" / "plans.json")["plans"]
    assert [plan["why"] for plan in plans[:3]] == ["next arm", "step failed on at", "graph failed on at"]


def test_where_every_engine_fails_the_calls_still_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = play(Machine(FAST, tmp_path, breaks=dict.fromkeys(FAST, 0)), monkeypatch)
    assert played.trained() == {}
    assert [name for name in played.names() if name.startswith("train-at")] == [
        "train-at", "train-at.2", "train-at.3", "train-at.4", "train-at.5",
    ]  # fmt: skip
    assert played.calls[2].begun[0].facts == {"arms": []}


def test_on_a_slow_machine_sum_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = dict.fromkeys(FAST, 0.03)
    played = play(Machine(slow, tmp_path), monkeypatch)
    assert sorted(played.trained()) == ["at", "mean"] and "search-mean" in played.names()
    assert min(epochs for _, epochs in played.trained().values()) >= 10


def test_twice_the_batch_is_used_by_all_arms_where_it_pays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = play(Machine(FAST, tmp_path, larger_batch=1.3), monkeypatch)
    batches = {o["batch"] for o in played.calls[1].outcomes() if o["stage"].startswith("train-")}
    assert batches == {256}


def test_without_its_data_nothing_is_trained_and_the_other_pieces_mend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(FAST, tmp_path, lacking=("cifar-10-batches-py/data_batch_1",))
    clock = FakeTime()
    monkeypatch.setattr(slot_module, "time", clock)
    second_call(first := FakeSlot(tmp_path, machine, clock, 2))
    assert not any(stage.name.startswith("train") for stage in first.begun)
    machine.lacking = ()
    second_call(again := FakeSlot(tmp_path, machine, clock, 2))
    assert again.begun[0].name == "unpack" and again.begun[1].name == "train-at"


def test_a_second_call_without_a_first_makes_up_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = play(Machine(FAST, tmp_path), monkeypatch, (2,))
    names = played.names(1)
    assert names.index("smoke-step") < names.index("ladder") < names.index("train-at")
    assert len(played.calls[0].begun[names.index("ladder")].facts["rungs"]) == 1


def test_a_ladder_that_takes_its_process_with_it_goes_on_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = play(Machine(FAST, tmp_path, ladder_crashes=2), monkeypatch, (1,))
    assert [name for name in played.names(1) if name.startswith("ladder")] == ["ladder", "ladder.2", "ladder.3"]


def test_what_the_machine_is_still_had_for_shortens_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeTime()
    monkeypatch.setattr(slot_module, "time", clock)
    machine = Machine(FAST, tmp_path)
    # A minute and a half is kept for what comes after the second call.
    slot = FakeSlot(tmp_path, machine, clock, 2, left=400.0)
    assert slot.left == pytest.approx(400 - 90 - slot_module.CLOSE)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_machine_does_nothing_is_begun_that_cannot_end(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    pace = chance.choice([0.01, 0.02, 0.04, 0.1])
    machine = Machine(
        {engine: pace * chance.uniform(0.8, 1.5) for engine in FAST if chance.random() < 0.8},
        tmp_path,
        disagrees=tuple(engine for engine in FAST if chance.random() < 0.2),
        breaks={engine: chance.randint(0, 4) for engine in FAST if chance.random() < 0.2},
        start=chance.uniform(5, 60),
        measure=chance.uniform(5, 60),
        search=chance.uniform(20, 150),
        slower=chance.uniform(0.8, 1.6),
        larger_batch=chance.uniform(0.9, 1.6),
        ladder_crashes=chance.choice([0, 0, 1]),
    )
    played = play(machine, monkeypatch)
    names = played.names()
    searches = [place for place, name in enumerate(names) if name.startswith("search")]
    trainings = [place for place, name in enumerate(names) if name.startswith("train")]
    assert not searches or max(trainings) < min(searches)
    for label in played.trained():
        assert f"measure-{label}" in names or machine.measure > 10
    plans = slot_module.stored(tmp_path / "work" / "plans.json").get("plans", [])
    assert all(plan["seconds"] <= plan["left"] for plan in plans)
    assert all(plan["epochs"] >= 10 for plan in plans if "sum" in plan["arms"] and "at" in plan["arms"])
