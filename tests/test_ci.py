"""What stands around the code: the workflow, the forms, titles of commits and the least coverage."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CI = ROOT / ".ci"
FORMS = sorted(set((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")) - {ROOT / ".github/ISSUE_TEMPLATE/config.yml"})


def script(name: str, *arguments: object, folder: Path) -> tuple[int, str]:
    """Status and error stream of a script of .ci, run in a folder."""
    command = [sys.executable, str(CI / name), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_github_runs_what_runs_everywhere() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    assert workflow["permissions"] == {"contents": "read"}


def test_github_tries_every_python_that_the_package_names() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    tried = job["strategy"]["matrix"]["python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    prefix = "Programming Language :: Python :: "
    assert tried == [text.removeprefix(prefix) for text in project["classifiers"] if text.startswith(prefix)]
    assert tried == ["3.11", "3.12", "3.13"] and project["requires-python"] == f">={tried[0]}"
    used = [step["with"]["python-version"] for step in job["steps"] if "python-version" in step.get("with", {})]
    assert used == ["${{ matrix.python }}"]


def test_the_demo_of_ci_is_that_of_the_installed_wheel() -> None:
    # Its environment is fresh, outside the checkout, and sees no PYTHONPATH.
    (demo,) = [line for line in (CI / "wheel").read_text().splitlines() if " demo " in line]
    assert demo.startswith("env -u PYTHONPATH") and "venv/bin/advdpnp demo" in demo
    run = (CI / "run").read_text()
    assert " wheel " in run and run.index(" wheel ") < run.index("test -s report/index.html")


@pytest.mark.parametrize("form", FORMS, ids=[form.stem for form in FORMS])
def test_a_form_for_issues_has_what_github_asks_for(form: Path) -> None:
    read = yaml.safe_load(form.read_text())
    assert read["name"] and read["description"]
    fields = [field["id"] for field in read["body"]]
    assert len(set(fields)) == len(fields)
    assert all(field["attributes"]["label"] for field in read["body"])


def commit(folder: Path, title: str, date: str) -> None:
    me = {"NAME": "A", "EMAIL": "a@b", "DATE": date}
    environment = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in me.items()}
    command = ["git", "-c", "core.hooksPath=/dev/null", "commit", "-q", "--allow-empty", "-m", title]
    subprocess.run(command, cwd=folder, env={**os.environ, **environment}, check=True)


@pytest.mark.parametrize(("length", "status"), [(69, 0), (70, 1)])
def test_a_title_has_fewer_than_70_characters(length: int, status: int, tmp_path: Path) -> None:
    # Characters, not bytes; and only the first line counts.
    message = tmp_path / "message"
    message.write_text("é" * length + "\n\n" + "b" * 100, encoding="utf-8")
    assert script("titles.py", message, folder=tmp_path)[0] == status


def test_a_merge_words_its_title_itself(tmp_path: Path) -> None:
    (tmp_path / "message").write_text(f"Merge branch '{'a' * 70}'\n")
    assert script("titles.py", tmp_path / "message", folder=tmp_path) == (0, "")


def test_titles_of_before_the_check_are_let_be_and_later_ones_are_named(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    commit(tmp_path, "old: " + "a" * 65, "2026-11-26T23:59:59Z")
    assert script("titles.py", folder=tmp_path) == (0, "")
    commit(tmp_path, "new: " + "b" * 65, "2026-11-27T00:00:00Z")
    commit(tmp_path, "new: short", "2026-11-27T00:00:01Z")
    status, said = script("titles.py", folder=tmp_path)
    assert status == 1
    assert said.count("\n") == 1
    assert said.endswith("got 70; shorten this title: new: " + "b" * 65 + "\n")


@pytest.mark.parametrize(("ran", "status"), [(990, 0), (500, 1)])
def test_too_little_coverage_names_the_files_with_most_lines_first(ran: int, status: int, tmp_path: Path) -> None:
    lines = {"a.py": 1, "b.py": 1000 - ran - 1}
    report = {
        "summary": {"percent_covered": ran / 10},
        "files": {name: {"missing_lines": list(range(count))} for name, count in lines.items()},
    }
    (tmp_path / "coverage.json").write_text(json.dumps(report))
    found, said = script("coverage.py", folder=tmp_path)
    assert found == status
    assert [line.split()[-1] for line in said.splitlines()] == (["b.py", "a.py"] if status else [])
