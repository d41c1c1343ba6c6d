"""The examples run as a person runs them, and say what they promise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"


def output_of(example: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", str(EXAMPLES / example), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
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
    first = output_of("train_on_a_folder.py", str(tmp_path)).splitlines()
    assert first[0].startswith("1618 images to train and choose with, 179 to test on")
    assert first[1] == "folder-images, first 179 test images, checkpoint best, suite pgd20"
    assert float(first[2].split()[1].rstrip("%")) > 80
    (weights,) = tmp_path.glob("runs/folder-images/tiny/adv-dpnp/seed-0/checkpoints/best.safetensors")
    before = weights.read_bytes()
    assert output_of("train_on_a_folder.py", str(tmp_path)).splitlines() == first
    assert weights.read_bytes() == before
