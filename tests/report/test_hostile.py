"""Folders that no version of ours has written: a report is made of what can be read, and nothing in it is believed."""

import contextlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advdpnp.report.corruption_tables import corrupted, corruption_tables
from advdpnp.report.page import write_report
from advdpnp.report.read import grouped, read_all
from advdpnp.report.reproduction import reproduction_page
from advdpnp.report.sections import page_sections
from advdpnp.report.summary import findings, origin, scope
from advdpnp.report.tables import accuracy_table, to_csv, to_latex
from report.conftest import change_json, make_run_under
from report.test_page import Page

MakeRun = Callable[..., Path]
SCRIPT = "<script>alert(1)</script>"
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 3, 10**30, 0.5, -0.5, 1e308, float("nan"), float("inf"), [], [1], ["x"], [[]], {}, {"a": 1}),
    *(
        "",
        "x",
        "x" * 10_000,
        SCRIPT,
        "a\nb",
        "\u202eabc",
        "\ud800",
        "\u05e9",
        "$\\frac{",
        "\x00",
        "8/255",
        "1e9999",
        "1/0",
    ),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs, one of which holds everything."""
    root = tmp_path_factory.mktemp("whole")
    make = make_run_under(root)
    make("adv-dpnp", everything=True)
    folder = make("at", data="cifar10", backbone="resnet18", recipe="paper")
    right = {"fog": [300, 200], "jpeg_compression": [200, 100]}
    means = {"severity_accuracy": [250 / 360, 150 / 360], "corruption_accuracy": {"fog": 0.5, "jpeg_compression": 0.4}}
    measured = {"right": right, "mean_accuracy": 0.5, "interval95": [0.4, 0.6], **means}
    change_json(folder / "eval" / "demo.json", corruptions=measured, corruption_source="published")
    return root / "runs"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in JSON values something may be changed."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from places(inner, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any, gone: bool) -> Any:
    if not path:
        return new
    inside = value
    for key in path[:-1]:
        inside = inside[key]
    if gone:
        del inside[path[-1]]
    else:
        inside[path[-1]] = new
    return value


def damage(path: Path, data: st.DataObject) -> None:
    """Cut a file, or change, or remove, one of its JSON values."""
    raw = path.read_bytes()
    if path.suffix == ".npz" or data.draw(st.integers(0, 4)) == 0:
        path.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])
        return
    lines = raw.decode().splitlines() if path.suffix == ".jsonl" else [raw.decode()]
    number = data.draw(st.integers(0, len(lines) - 1))
    value = json.loads(lines[number])
    where = data.draw(st.sampled_from(list(places(value))))
    lines[number] = json.dumps(changed(value, where, data.draw(st.sampled_from(ODD)), data.draw(st.booleans())))
    path.write_text("\n".join(lines))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_changed_in_a_file_a_report_is_made(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    shutil.copytree(whole, tmp_path / "runs")
    folders = sorted(tmp_path.glob("runs/*/*/*/seed-*"))
    files = sorted(path for path in tmp_path.rglob("runs/**/*") if path.is_file())
    damage(data.draw(st.sampled_from(files)), data)
    with warnings.catch_warnings():
        # Of a row that is there twice.
        warnings.simplefilter("ignore")
        found = read_all(folders)
    groups = grouped(found.runs)
    tables = list(map(accuracy_table, groups))
    parts = page_sections(found.runs, groups, tables)
    text = scope(found.runs, groups) + to_csv(
        [*tables, *(t for one in corrupted(groups) for t in corruption_tables(one))]
    )
    text += "".join(to_latex(table) for part in parts for table in part.tables) + reproduction_page(found.runs)
    text += str([findings(group) for group in groups] + [origin(run) for run in found.runs])
    # All of it can be written, whatever the names are.
    text.encode()
    for one in found.unread:
        assert "\n" not in one.reason and str(tmp_path) in one.reason and ": " in one.reason


HOSTILE = {
    "a script": SCRIPT,
    "quotes and formulas": "\"x' & \\input{a} $\\frac{",
    "lines": "two\r\nlines",
    "another direction": "\u202eabc \u05e9\u05dc",
    "length": "y" * 10_000,
    "controls": "a\x00\x08b\ud800",
    "a script that the font lacks": "\u6d4b\u8bd5",
    "a formula of a spreadsheet": '=HYPERLINK("x")',
}


def test_hostile_names_are_shown_as_text(make_run: MakeRun, tmp_path: Path) -> None:
    for seed, name in enumerate(HOSTILE.values()):
        folder = make_run("at", seed=seed, everything=seed == 1)
        change_json(folder / "config.json", tag=name)
    change_json(make_run("st") / "config.json", data=SCRIPT, backbone=SCRIPT, defense={"name": SCRIPT})
    folders = sorted(tmp_path.glob("runs/*/*/*/seed-*"))
    text = write_report(folders, tmp_path / "out").read_text()
    page = Page(text)
    assert page.open == [] and SCRIPT not in text and "<script>alert" not in text
    assert "AT +<script>alert(1)</script>" in page.text and "AT +two lines" in page.text
    assert not {"\x00", "\x08", "\u202e"} & set(text)
    # LaTeX reads no command in a name, and no line of a name ends a comment.
    latex = (tmp_path / "out" / "results.tex").read_text()
    assert "\\input{" not in latex and "\\frac" not in latex
    assert all(line.startswith(("%", "\\", "Method", "AT", "ST", "<", " ")) for line in latex.splitlines() if line)


@pytest.mark.parametrize(
    ("text", "written"), [("=1+1", "'=1+1"), ("@x", "'@x"), ("-x", "'-x"), ("-1", "-1"), ("x", "x")]
)
def test_a_spreadsheet_reads_no_formula_in_a_name(make_run: MakeRun, text: str, written: str) -> None:
    folder = make_run("at")
    change_json(folder / "config.json", backbone=text)
    (group,) = grouped(read_all([folder]).runs)
    assert to_csv([accuracy_table(group)]).splitlines()[1].startswith(f"digits,{written},")


def test_a_file_that_must_not_be_read_is_named(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(everything=True)
    refused, opened = folder / "eval" / "demo.json", os.open

    def open_file(path: Any, *arguments: Any, **named: Any) -> int:
        if str(path) == str(refused):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **named)

    monkeypatch.setattr(os, "open", open_file)
    found = read_all([folder])
    assert [one.reason for one in found.unread] == [
        f"{refused} cannot be read (Permission denied): give yourself the right to, or leave it out"
    ]


def test_a_deep_nest_and_a_bomb_are_named(make_run: MakeRun) -> None:
    folder = make_run()
    (folder / "eval" / "deep.json").write_text("[" * 100_000)
    (folder / "eval" / "exponent.json").write_text(
        (folder / "eval" / "demo.json").read_text().replace('"0.1"', '"1e99999999"')
    )
    reasons = sorted(one.reason for one in read_all([folder]).unread)
    assert "nested too deeply" in reasons[0] and "a budget is a number" in reasons[1]


def test_links_in_a_circle_are_no_endless_search(make_run: MakeRun, tmp_path: Path) -> None:
    from advdpnp.report.run_folders import run_folders

    folder = make_run()
    with contextlib.suppress(OSError):
        (tmp_path / "runs" / "again").symlink_to(tmp_path / "runs")
    bare = make_run("st")
    (bare / "config.json").unlink()
    assert run_folders([tmp_path / "runs", tmp_path / "nothing"]) == [folder, bare, tmp_path / "nothing"]
