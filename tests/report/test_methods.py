import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import pytest

from advdpnp.defenses import AT, DEFENSES
from advdpnp.experiments import experiment, from_config
from advdpnp.report import write_report
from advdpnp.report.methods import INK, METHODS, color, method
from advdpnp.report.read import read_run, read_runs
from advdpnp.runs import Run

MakeRun = Callable[..., Path]
UNKNOWN = [f"method-{number}" for number in range(30)]


def channels(text: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(text.removeprefix("#")))


def distance(first: str, second: str) -> float:
    return sum((a - b) ** 2 for a, b in zip(channels(first), channels(second), strict=True)) ** 0.5


def test_every_method_has_a_color_and_a_marker_of_its_own() -> None:
    shown = [METHODS[name] for name in METHODS if name != "adv-dpnp-literal"]
    for first, second in combinations(shown, 2):
        assert first.color != second.color and first.marker != second.marker
    assert set(DEFENSES) <= set(METHODS)


def test_a_color_that_the_table_does_not_have_is_a_function_of_the_name_and_like_none_of_the_table() -> None:
    # Written down, so that a report of another machine or version has them too.
    assert (color("mixed"), color("free-at")) == ("#0B23DA", "#E31F60")
    for name in UNKNOWN:
        assert min(distance(color(name), known.color) for known in METHODS.values()) > 36
    assert len({color(name) for name in UNKNOWN}) == len(UNKNOWN)


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_derived_color_can_be_read_on_white(name: str) -> None:
    scaled = [channel / 255 for channel in channels(color(name))]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in scaled]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (luminance + 0.05) > 2.9


def test_a_method_shows_under_the_title_that_its_run_stores_and_known_ones_under_their_own(make_run: MakeRun) -> None:
    folder, tagged, known = make_run("mixed", everything=True), make_run("mixed", tag="x"), make_run("at")
    for path in (folder, tagged, known):
        config = json.loads((path / "config.json").read_text()) | {"title": "Mixed AT"}
        (path / "config.json").write_text(json.dumps(config))
    assert [read_run(path).method for path in (folder, tagged, known)] == ["Mixed AT", "Mixed AT +x", "AT"]
    assert method("mixed").title == "MIXED" and color("foreign") == INK
    page = write_report([folder, known], folder / "page").read_text()
    assert "Mixed AT" in page and f"background:{color('mixed')}" in page
    assert [run.defense for run in read_runs([folder, known])] == ["at", "mixed"]


def test_a_title_that_is_no_text_is_damage(make_run: MakeRun) -> None:
    path = make_run() / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"title": 3}))
    with pytest.raises(ValueError, match=r"config\.json is damaged .*title is 3"):
        read_run(path.parent)


@dataclass(frozen=True)
class Mixed(AT):
    name: ClassVar[str] = "mixed"
    title: ClassVar[str] = "Mixed AT"


def test_a_run_stores_the_title_of_a_defense_that_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEFENSES, "mixed", Mixed)
    wanted = experiment("digits/tiny/mixed")
    run = Run(wanted.folder(tmp_path))
    run.create_or_verify(wanted.config())
    assert read_run(run.folder).method == "Mixed AT" and from_config(run.config()) == wanted
    assert "title" not in experiment("digits/tiny/at").config()


def test_a_run_from_before_its_method_had_a_title_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from advdpnp.api import training

    monkeypatch.setitem(DEFENSES, "mixed", Mixed)
    wanted = experiment("digits/tiny/mixed")
    older: Mapping[str, object] = {name: value for name, value in wanted.config().items() if name != "title"}
    run = Run(wanted.folder(tmp_path))
    run.create_or_verify(dict(older))
    assert run.create_or_verify(wanted.config(), training._completed) is True
    assert run.config() == json.loads(json.dumps(older)) and read_run(run.folder).method == "MIXED"
