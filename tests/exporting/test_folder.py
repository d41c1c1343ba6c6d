import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

import advdpnp
from advdpnp import api
from advdpnp.exporting.folder import _manifest
from advdpnp.runs import Run, read_json, write_json

from .conftest import make_run, store_result

PLAIN = ["safetensors", "torch-export"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_load_reads_the_exported_folder_and_evaluate_too(digits_run: Path, tmp_path: Path) -> None:
    written = advdpnp.export(digits_run, tmp_path / "out", PLAIN)
    x = torch.rand(20, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(advdpnp.load(tmp_path / "out", device="cpu")(x), advdpnp.load(digits_run, device="cpu")(x))
    assert {file["name"] for file in written["files"]} == {
        *("README.md", "config.json", "environment.json", "eval/quick.json", "model.safetensors", "model.pt2")
    }
    again = api.evaluate(tmp_path / "out", "pgd20", limit=20, device="cpu")
    assert again["n"] == 20


def test_every_file_is_listed_with_its_size_and_digest(digits_run: Path, tmp_path: Path) -> None:
    api.export(digits_run, tmp_path / "out", PLAIN)
    found, listed = contents(tmp_path / "out"), read_json(tmp_path / "out" / "export.json")["files"]
    assert {file["name"] for file in listed} == found.keys() - {"export.json", "SHA256SUMS"}
    for file in listed:
        content = found[file["name"]]
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert file["name"] == "README.md" or file["sha256"] in found["README.md"].decode()
    # As sha256sum reads it.
    sums = dict(reversed(line.split("  ")) for line in found["SHA256SUMS"].decode().splitlines())
    assert sums == {file["name"]: file["sha256"] for file in listed}


def test_an_export_of_an_export_is_the_same_model_with_the_same_results(digits_run: Path, tmp_path: Path) -> None:
    for source, out in ((digits_run, "a"), (tmp_path / "a", "b")):
        api.export(source, tmp_path / out, ["safetensors"])
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert first.keys() == second.keys()
    assert all(first[name] == second[name] for name in first if name not in ("README.md", "export.json", "SHA256SUMS"))
    assert "No measured robustness" not in second["README.md"].decode()


def test_another_format_is_added_and_the_card_lists_both(digits_run: Path, tmp_path: Path) -> None:
    api.export(digits_run, tmp_path / "out", ["safetensors"])
    api.export(digits_run, tmp_path / "out", ["torch-export"])
    text = (tmp_path / "out" / "README.md").read_text()
    assert "advdpnp.load" in text and "torch.export.load" in text
    (tmp_path / "out" / "model.pt2").write_bytes(b"changed")
    written = api.export(digits_run, tmp_path / "out", ["safetensors"])
    assert "model.pt2" not in {file["name"] for file in written["files"]}


def test_an_export_of_another_model_is_refused_unless_forced(digits_run: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", make_run(tmp_path / "other", "digits/tiny/at")
    api.export(digits_run, out, PLAIN)
    before = contents(out)
    with pytest.raises(
        ValueError, match=r"export of another model .*defense\.name: adv-dpnp, not at.*; and \d+ more\).*--force"
    ):
        api.export(other.folder, out, ["safetensors"])
    assert contents(out) == before
    api.export(other.folder, out, ["safetensors"], force=True)
    assert contents(out).keys() == {"README.md", "SHA256SUMS", "config.json", "model.safetensors", "export.json"}
    assert type(api.load(out, device="cpu").head).__name__ == "LinearHead"


def test_folders_with_other_content_are_refused_even_if_forced(digits_run: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README.md").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for out, message in (
        (tmp_path / "notes", "no finished export"),
        (tmp_path / "file", "is a file"),
        (digits_run, "the run's own folder"),
    ):
        with pytest.raises(ValueError, match=message):
            api.export(digits_run, out, PLAIN, force=True)
    assert (tmp_path / "notes" / "README.md").read_text() == "mine"


def test_a_list_that_names_files_outside_its_folder_is_refused(digits_run: Path, tmp_path: Path) -> None:
    out, precious = tmp_path / "out", tmp_path / "precious.txt"
    precious.write_text("mine")
    api.export(digits_run, out, ["safetensors"])
    stored = read_json(out / "export.json")
    stored["files"].append({**stored["files"][0], "name": "../precious.txt"})
    (out / "export.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="is damaged"):
        api.export(digits_run, out, ["safetensors"], force=True)
    assert precious.read_text() == "mine"


def test_nothing_is_written_if_a_file_would_not_answer_alike(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("advdpnp.exporting.formats.program_answers", lambda _: lambda x: torch.zeros(len(x), 10))
    with pytest.raises(ValueError, match=r"model\.pt2 would not be the same classifier"):
        api.export(digits_run, tmp_path / "out", PLAIN)
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_finite_are_not_exported(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "digits/tiny/at")
    weights, _ = run.read_weights("last")
    run.write_weights("last", {**weights, "head.linear.bias": weights["head.linear.bias"] * torch.nan}, epoch=1)
    with pytest.raises(ValueError, match="not finite"):
        api.export(run.folder, tmp_path / "out", ["torch-export"])


def test_a_damaged_checkpoint_or_config_is_one_line(digits_run: Path, tmp_path: Path) -> None:
    for name in ("checkpoints/last.safetensors", "config.json"):
        shutil.copytree(digits_run, copy := tmp_path / name.replace("/", "-"))
        (copy / name).write_bytes((copy / name).read_bytes()[:100])
        with pytest.raises(ValueError, match="is damaged") as error:
            api.export(copy, tmp_path / "out")
        assert "\n" not in str(error.value)


def test_the_best_checkpoint_is_exported_as_such(digits_run: Path, tmp_path: Path) -> None:
    api.export(digits_run, tmp_path / "out", checkpoint="best")
    assert (tmp_path / "out/model.safetensors").read_bytes() == Run(digits_run).weights_path("best").read_bytes()
    text = (tmp_path / "out" / "README.md").read_text()
    assert "checkpoint `best`" in text and "**No measured robustness.**" in text


def test_results_of_any_name_go_along_and_a_copy_counts_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "digits/tiny/at")
    row = ("pgd", "0.1", 20, "0.01", 0.5)
    for stem, suite, data in (
        ("quick", "quick", "digits"),
        ("quick@mnist", "quick", "mnist"),
        ("quick-bf16", "quick-bf16", "digits"),
        ("quick-tf32@mnist", "quick-tf32", "mnist"),
        ("curve", "curve", "digits"),
        ("curve@mnist", "curve", "mnist"),
        ("Copy of curve", "curve", "digits"),
        ("shards/quick.1-of-2", "quick", "digits"),
        ("quick.seed-1.partial", "quick", "digits"),
        ("clean.partial", "clean", "digits"),
    ):
        store_result(run, suite, data, 360, [row], path=stem)
    with pytest.warns(UserWarning, match=r"Copy of curve\.json is left out: suite curve is read from curve\.json"):
        written = api.export(run.folder, tmp_path / "out")
    kept = {"quick", "quick@mnist", "quick-bf16", "quick-tf32@mnist", "curve", "curve@mnist"}
    assert {file["name"] for file in written["files"] if file["name"].startswith("eval/")} == {
        f"eval/{stem}.json" for stem in kept
    }
    text = (tmp_path / "out" / "README.md").read_text()
    assert text.count("### curve: 360 test images of digits") == text.count("### curve: 360 test images of mnist") == 1


def test_a_copy_of_a_result_is_left_out_of_an_export_and_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "digits/tiny/at")
    rows = [("pgd", "0.05", 20, "0.01", 0.6), ("pgd", "0.1", 20, "0.01", 0.4)]
    store_result(run, "curve", "digits", 360, rows)
    store_result(run, "curve", "digits", 360, rows, path="curve@other")
    with pytest.warns(UserWarning, match=r"curve@other\.json is left out: suite curve is read from curve\.json"):
        written = api.export(run.folder, tmp_path / "out", ["safetensors"])
    assert [file["name"] for file in written["files"] if "eval/" in file["name"]] == ["eval/curve.json"]
    assert (tmp_path / "out/README.md").read_text().count("### curve: 360 test images") == 1


def test_results_of_one_suite_on_two_test_sets_are_both_exported(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "digits/tiny/at")
    for data, name in (("digits", "curve"), ("digits-c", "curve@digits-c")):
        store_result(run, "curve", data, 360, [("pgd", "0.1", 20, "0.01", 0.4)], path=name)
    written = api.export(run.folder, tmp_path / "out", ["safetensors"])
    assert {file["name"] for file in written["files"]} >= {"eval/curve.json", "eval/curve@digits-c.json"}
    text = (tmp_path / "out/README.md").read_text()
    assert "curve: 360 test images of digits " in text and "curve: 360 test images of digits-c " in text


@pytest.mark.parametrize(
    "stored", [{}, {"files": 1}, {"files": ["x"]}, {"files": [{"name": 1}]}, {"model": 1, "files": []}], ids=str
)
def test_a_list_that_is_none_is_refused_in_one_line(stored: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=r"export.json is damaged or not a result of advdpnp \("):
        _manifest(tmp_path)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "\0", "\ud800"], ids=range(5))
def test_a_name_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    file = {"name": name, "format": "x", "sha256": "x"}
    (tmp_path / "export.json").write_text(json.dumps({"schema": 1, "model": {}, "files": [file]}))
    with pytest.raises(ValueError, match="a file outside its folder"):
        _manifest(tmp_path)


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"schema": 99, "model": {}},
        {"schema": 1, "model": 3},
        {"schema": 1, "model": {"checkpoint": "\x1b[31m"}},
        {"schema": 1, "model": {"checkpoint": {}}},
    ],
    ids=repr,
)
def test_a_list_that_is_none_is_named_by_whoever_reads_the_folder(manifest: dict[str, object], tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_json(tmp_path / "export.json", manifest)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ValueError, match=r"export\.json is damaged .*: export the run again"):
        run.stored_checkpoint("last")


def test_an_export_says_which_checkpoint_it_is_of(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    write_json(tmp_path / "export.json", {"schema": 1, "model": {"checkpoint": "best"}})
    assert Run(tmp_path).stored_checkpoint("last") == "best"
