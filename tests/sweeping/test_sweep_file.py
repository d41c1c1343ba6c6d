from pathlib import Path

import pytest

from advdpnp.sweeping.sweep_file import SuiteEntry, read_sweep

HEAD = "data: digits\nbackbone: tiny\n"


def read(tmp_path: Path, text: str) -> object:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return read_sweep(path)


def test_what_stands_at_the_top_holds_where_nothing_else_is_said(tmp_path: Path) -> None:
    (tmp_path / "my sweep.yaml").write_text(
        HEAD + "out: there\nseeds: [0, 1]\nset: {recipe.epochs: 2, recipe: {holdout: 40}}\nsuites: [pgd20]\n"
        "experiments:\n"
        "  - {methods: [at, st], set: {recipe.epochs: 3}}\n"
        "  - {methods: [adv-dpnp], seeds: [4], suites: [{suite: autoattack, limit: 9, seeds: [4], eps: 0.1}]}\n"
    )
    sweep = read_sweep(tmp_path / "my sweep.yaml")
    first, second = sweep.groups
    assert (sweep.name, sweep.out) == ("my-sweep", Path("there"))
    assert (first.data, first.backbone, first.methods, first.seeds) == ("digits", "tiny", ("at", "st"), (0, 1))
    assert first.set == {"recipe.epochs": 3, "recipe.holdout": 40} and first.suites == (SuiteEntry("pgd20"),)
    assert second.seeds == (4,) and second.set["recipe.epochs"] == 2
    assert second.suites == (SuiteEntry("autoattack", limit=9, seeds=(4,), eps="0.1"),)


def test_variants_and_grid_multiply_and_name_themselves(tmp_path: Path) -> None:
    text = HEAD + "experiments: [{methods: [a, b], seeds: [0, 1], variants: {plain: {}, long: {recipe.epochs: 9}},\n"
    sweep = read(
        tmp_path, text + "  grid: {defense.alpha: [10, 20], recipe.attack.eps: [8/255]}, set: {recipe.lr: 0.1}}]"
    )
    (group,) = sweep.groups  # type: ignore[attr-defined]
    assert group.count == 2 * 2 * 2 * 2
    assert dict(group.settings()) == {
        f"{name}-alpha-{alpha}-eps-8-255": {
            "recipe.lr": 0.1, **more, "defense.alpha": alpha, "recipe.attack.eps": "8/255",
        }
        for name, more in (("plain", {}), ("long", {"recipe.epochs": 9}))
        for alpha in (10, 20)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD, r"experiments must be a list, as in .*; got None$"),
        (HEAD + "experiments: at", r"experiments must be a list.*got 'at'$"),
        (HEAD + "experiment: []", r"unknown key 'experiment'; nearest: experiments"),
        (HEAD + "experiments: [{method: [at]}]", r"unknown field experiments.method; nearest: methods"),
        (HEAD + "experiments: [{seeds: [1]}]", r"each needs methods, there or at the top of the file; got none"),
        ("backbone: tiny\nexperiments: [{methods: [at]}]", "each needs data, there or at the top"),
        (HEAD + "experiments: [{methods: at}]", r"methods must be a list, as in `methods: \[a, b\]`; got 'at'"),
        (HEAD + "experiments: [{methods: [at], seeds: 0}]", "seeds must be a list"),
        (HEAD + "experiments: [{methods: [at], seeds: [yes]}]", "seeds must be a whole number; got True"),
        (HEAD + "experiments: [{methods: [at], seeds: [0.5]}]", "seeds must be a whole number; got 0.5"),
        (HEAD + "experiments: [{methods: [at], set: 3}]", "set must be a group of fields.*got 3"),
        (HEAD + "experiments: [{methods: [at], seeds: [010]}]", "010 is a number of base 8 or 60: write a decimal"),
        (
            HEAD + "experiments: [{methods: [at], set: {recipe.epochs: 1, recipe: {epochs: 2}}}]",
            "recipe.epochs is there twice, with dots and in its group: leave one out",
        ),
        (HEAD + "experiments: [{methods: [at], grid: {recipe.lr: 3}}]", r"grid.recipe.lr must be a list of values"),
        (HEAD + "experiments: [{methods: [at], variants: {a: 3}}]", "variants.a must be a group of fields; got 3"),
        (HEAD + "experiments: [{methods: [at], variants: {1: {}}}]", "variants: a name must be a text; got 1: put it"),
        (HEAD + "experiments: [{methods: [at], variants: {null: {}}}]", "variants: a name must be a text; got None"),
        (HEAD + "experiments: [{methods: [at], grid: {1: [2]}}]", "grid: a name must be a text; got 1"),
        (HEAD + "experiments: [{methods: [at], suites: [3]}]", "suites must be a group of fields; got 3"),
        (HEAD + "experiments: [{methods: [at], suites: [{limit: 3}]}]", "needs the name of a suite"),
        (HEAD + "experiments: [{methods: [at], suites: [{suite: text, seeds: 0}]}]", "suites: seeds must be a list"),
        (
            HEAD + "suites: [{suite: text, seeds: [1, 7]}]\nexperiments: [{methods: [a], seeds: [1]}, {methods: [b]}]",
            "suites.seeds: nothing is trained with seed 7; there are 0, 1",
        ),
        (HEAD + "experiments: [{methods: [at], suites: [{suite: text, limits: 3}]}]", "suites.limits; nearest: limit"),
        (HEAD + "experiments: [{methods: [at], suites: [{suite: text, shards: 0}]}]", "suites.shards must be"),
        (HEAD + "experiments: [{methods: [at]}]\nexperiments: []", "is there twice"),
        (HEAD + "out: []\nexperiments: [{methods: [at]}]", "out must be the path of a folder"),
        (HEAD + "set: &a {b: *a}\nexperiments: [{methods: [at]}]", "holds itself"),
        (HEAD + "experiments: [{methods: [at], grid: {a: [1,2,3,4,5,6,7,8,9,10], b: [1,2,3,4,5,6,7,8,9,10],"
         "c: [1,2,3,4,5,6,7,8,9,10], d: [1,2,3,4,5,6,7,8,9,10,11]}}]", "at most 10,000 runs; got 11,000"),
        ("a: [1", "is no YAML"),
    ],
)  # fmt: skip
def test_what_is_no_sweep_is_refused_in_one_line(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=problem) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "mine.yaml"))


def test_references_that_multiply_settings_are_refused_at_once(tmp_path: Path) -> None:
    levels = "".join(f"  l{k}: &l{k} {{a: *l{k - 1}, b: *l{k - 1}}}\n" for k in range(1, 40))
    with pytest.raises(ValueError, match="more than 10,000 values"):
        read(tmp_path, HEAD + "set:\n  l0: &l0 {x: 1}\n" + levels + "experiments: [{methods: [at]}]")
