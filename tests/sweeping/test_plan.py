import pickle
from pathlib import Path

import pytest

from advdpnp.data import folder_spec
from advdpnp.experiments import experiment, experiment_on
from advdpnp.experiments.ablations import ABLATIONS
from advdpnp.sweeping import plan
from advdpnp.sweeping.means import Means
from advdpnp.sweeping.plan import make_plan
from advdpnp.sweeping.sweep_file import read_sweep
from advdpnp.sweeping.tasks import SuiteTask, TrainTask
from advdpnp.sweeping.work import do
from data.pictures import write
from sweeping.small import plan_of

EXAMPLE = Path(__file__).parents[2] / "examples/fourteen.yaml"


def test_a_helper_is_trained_once_and_before_those_that_need_it(tmp_path: Path) -> None:
    tasks = plan_of(tmp_path, "experiments: [{methods: [hat, st, hat], suites: [clean, pgd20]}]")
    of = "digits/tiny/"
    assert [(task.key, task.after) for task in tasks] == [
        (of + "st+helper/seed-0 train", ()),
        (of + "hat/seed-0 train", (of + "st+helper/seed-0 train",)),
        (of + "st/seed-0 train", ()),
        (of + "hat/seed-0 clean", (of + "hat/seed-0 train",)),
        (of + "hat/seed-0 pgd20", (of + "hat/seed-0 train",)),
        (of + "st/seed-0 clean", (of + "st/seed-0 train",)),
        (of + "st/seed-0 pgd20", (of + "st/seed-0 train",)),
    ]


def test_shards_are_tasks_and_the_whole_comes_after_them(tmp_path: Path) -> None:
    text = "experiments: [{methods: [at], seeds: [0, 1], suites: [{suite: autoattack, shards: 2, seeds: [1]}]}]"
    of = "digits/tiny/at/seed-1 "
    *_, first, second, whole = plan_of(tmp_path, text)
    assert [first.key, second.key, whole.key] == [of + f"autoattack{which}" for which in (" 1 of 2", " 2 of 2", "")]
    assert first.after == second.after == (of + "train",) and whole.after == (first.key, second.key)


def test_a_table_is_its_suites_with_their_radii(tmp_path: Path) -> None:
    tasks = plan_of(tmp_path, "experiments: [{methods: [at], suites: [table3]}]")
    names = [task.files.name for task in tasks if isinstance(task, SuiteTask)]
    # A quarter, a half and three quarters of the usual 0.1.
    assert names == ["small-eps", "autoattack-eps-0.025", "autoattack-eps-0.05", "autoattack-eps-0.075"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("experiments: [{methods: [at]}, {methods: [at], set: {recipe.lr: 3}}]", r"two different runs .*recipe.lr: "),
        ("experiments: [{methods: [att]}]", "unknown defense 'att'; nearest: at"),
        ("experiments: [{methods: [at], set: {recipe.epoch: 3}}]", "unknown setting 'recipe.epoch'; nearest"),
        ("experiments: [{methods: [at], variants: {a/b: {}}}]", "must be letters, digits and .*; got .a/b."),
        ("experiments: [{methods: [at], variants: {../../x: {}}}]", "must be letters, digits"),
        ("experiments: [{methods: [at], suites: [pgd]}]", "unknown suite 'pgd'"),
        ("experiments: [{methods: [at], suites: [{suite: text, checkpoint: first}]}]", "must be one of last, best"),
        ("experiments: [{methods: [at], suites: [{suite: ../x, attack: ['pgd:eps=0.1']}]}]", "a name of their own"),
        ("experiments: [{methods: [at], suites: [{suite: text, limit: 100000}]}]", "--limit must be from 1 to 360"),
        ("experiments: [{methods: [at], suites: [{suite: text, shards: 2}]}]", "suite text measures geometry"),
        ("experiments: [{methods: [at], suites: [{suite: pgd20, shards: 100000000000}]}]", "M at most 360 images"),
        ("experiments: [{methods: [at], suites: [text, {suite: text, limit: 9}]}]", "twice .*limit: 0, not 9"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_before_anything_is(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"small\\.yaml: .*{problem}"):
        plan_of(tmp_path, text)
    assert not (tmp_path / "runs").exists()


def test_more_tasks_than_anybody_means_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MOST_TASKS", 7)
    text = "experiments: [{methods: [at], suites: [{suite: autoattack, shards: %d}]}]"
    assert len(plan_of(tmp_path, text % 5)) == 7
    with pytest.raises(ValueError, match="at most 7 tasks"):
        plan_of(tmp_path, text % 6)


def of_folder(text: str = "", size: int = 16) -> str:
    head = f"{text}experiments: [{{methods: [at], suites: [clean]}}]\nset: {{recipe.holdout: 0, recipe.epochs: 1}}\n"
    return f"backbone: tiny\nimage_size: {size}\n{head}"


def test_images_of_ones_own_are_those_that_train_would_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVDPNP_DATA", str(tmp_path / "data"))
    (tmp_path / "own.yaml").write_text(f"data: 'folder:{write(tmp_path / 'my pictures')}'\n" + of_folder())
    told: list[str] = []
    training, suite = make_plan(read_sweep(tmp_path / "own.yaml"), tmp_path / "runs", tell=told.append)
    wanted = experiment_on(
        folder_spec(tmp_path / "my pictures", 16), "tiny", "at", settings=["recipe.holdout=0", "recipe.epochs=1"]
    )
    assert isinstance(training, TrainTask) and training.config == wanted.config()
    assert [task.records.run for task in (training, suite)] == [wanted.folder(tmp_path / "runs")] * 2
    assert told[0].startswith("reading 61 images of 3 classes")
    # Another process knows the images from what it is sent, and ends both tasks.
    for task in pickle.loads(pickle.dumps([training, suite])):
        assert do(task, Means(threads=1), None).kind == "finished" and task.is_finished()


@pytest.mark.parametrize(
    ("data", "text", "problem"),
    [
        ("folder:", "", "folder: must be followed by the path of a folder"),
        ("folder:nowhere", "", "nowhere"),
        ("folder:.", "", "must hold one folder of images for each class"),
        ("digits", "", "--image-size, --split-seed and --skip-broken are for folder:PATH; got digits"),
    ],
)
def test_what_is_no_data_is_refused_before_anything_is_run(
    data: str, text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    (tmp_path / "own.yaml").write_text(f"data: '{data}'\n" + of_folder(text))
    with pytest.raises((ValueError, FileNotFoundError), match=problem):
        make_plan(read_sweep(tmp_path / "own.yaml"), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_tasks_travel_as_what_they_were_made_of(tmp_path: Path) -> None:
    for task in plan_of(tmp_path, "experiments: [{methods: [adv-dpnp], suites: [pgd20]}]"):
        assert task.key and task.records.run == task.run.folder
        there = pickle.loads(pickle.dumps(task))
        assert there == task and not {"experiment", "run", "files", "suite", "key"} & vars(there).keys()


def test_the_example_has_all_fourteen_defenses_and_all_ablations() -> None:
    tasks = make_plan(read_sweep(EXAMPLE), Path("runs"))
    keys = {task.key for task in tasks}
    trained = [key for key in keys if key.endswith(" train")]
    # Of two seeds, HAT's helper included, and of one.
    assert len(trained) == 2 * 15 + len(ABLATIONS)
    assert len([key for key in keys if key.endswith(" fsr")]) == 28
    assert len([key for key in keys if key.endswith(" autoattack-bf16")]) == 14
    assert len([key for key in keys if key.endswith(" pgd20")]) == len(ABLATIONS)
    settings = ("recipe.epochs=8", "recipe.train_images=5000", "recipe.precision=bf16", "recipe.engine=compiled")
    wanted = experiment("cifar10/resnet8/trades", "paper", 1, settings=settings)
    assert [task.config for task in tasks if task.key == "cifar10/resnet8/trades/seed-1 train"] == [wanted.config()]  # type: ignore[union-attr]
