"""The examples run as a person runs them, and say what they promise."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import warm

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"


def output_of(example: str, *arguments: str) -> str:
    return output(str(EXAMPLES / example), *arguments)


def output(*arguments: str) -> str:
    """What Python prints."""
    done = warm.run(["-W", "error", *arguments], timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_foreign_network_is_attacked_and_printed_with_intervals() -> None:
    lines = output_of("attack_your_model.py").splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["clean", "fgsm", "pgd", "pgd", "cw", "worst"]
    assert all(line.rstrip().endswith("%]") for line in lines[1:])


def test_own_arrays_train_into_a_run_folder_and_a_second_start_finds_it_done(tmp_path: Path) -> None:
    folder = tmp_path / "stripes"
    first = output_of("train_on_arrays.py", str(folder))
    weights = (folder / "checkpoints/last.safetensors").read_bytes()
    assert "clean" in first and len((folder / "train.jsonl").read_text().splitlines()) == 6
    assert output_of("train_on_arrays.py", str(folder)) == first
    assert (folder / "checkpoints/last.safetensors").read_bytes() == weights


def test_a_folder_of_images_is_learned_and_a_second_start_finds_images_and_run(tmp_path: Path) -> None:
    reading, *first = output_of("train_on_a_folder.py", str(tmp_path)).splitlines()
    assert reading.startswith("reading 1,797 images of 10 classes")
    assert first[0].startswith("1618 images to train and choose with, 179 to test on")
    assert first[1] == "folder-images, first 179 test images, checkpoint best, suite pgd20"
    assert float(first[2].split()[1].rstrip("%")) > 80
    (weights,) = tmp_path.glob("runs/folder-images/tiny/adv-dpnp/seed-0/checkpoints/best.safetensors")
    before = weights.read_bytes()
    assert output_of("train_on_a_folder.py", str(tmp_path)).splitlines() == [reading, *first]
    assert weights.read_bytes() == before


def test_the_losses_train_a_network_in_a_loop_of_your_own() -> None:
    *epochs, last = output_of("losses_in_your_loop.py").splitlines()
    totals = [float(line.rpartition(" ")[2]) for line in epochs]
    assert len(totals) == 12 and totals[-1] < totals[0]
    clean, robust = (float(part) for part in re.findall(r"([\d.]+)%", last))
    assert clean > 80 and robust > 50, last


def test_the_notebook_runs_from_top_to_bottom_and_shows_what_its_cells_print() -> None:
    notebook = json.loads((EXAMPLES / "attack_your_model.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    # A notebook is its cells in order; the names of one are known in the next.
    program = "\n".join("".join(cell["source"]) for cell in cells)
    shown = [
        "".join(output["text"])
        for cell in cells
        for output in cell["outputs"]
        if output["output_type"] == "stream" and output["name"] == "stdout"
    ]
    titles = [line.partition("  ")[0] for line in output("-c", program).splitlines()]
    assert titles[:-2] == [line.partition("  ")[0] for line in "".join(shown).splitlines()][:-2]


def test_a_defense_in_a_package_of_its_own_is_installed_and_known_by_its_name(tmp_path: Path) -> None:
    source = shutil.copytree(EXAMPLES / "defense_package", tmp_path / "source")
    install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(tmp_path / "site"),
    ]
    subprocess.run([sys.executable, *install, str(source)], check=True, capture_output=True)
    path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    run = tmp_path / "runs/digits/tiny/noisy/seed-0"
    for words in (
        ["list", "defenses"],
        ["train", "digits/tiny/noisy", "--set", "recipe.epochs=1", "--out", str(tmp_path / "runs")],
        ["evaluate", str(run), "--suite", "clean"],
        ["report", str(run), "--out", str(tmp_path / "report")],
    ):
        done = warm.run(["-m", "advdpnp", *words], env=environment, timeout=120)
        assert done.returncode == 0, done.stderr
        assert words[0] != "list" or "an installed package's: noisy:Noisy" in done.stdout
    assert "Noise" in (tmp_path / "report/results.csv").read_text()
