"""What a release says of itself agrees: the package, its metadata, the changelog, the citation and the command."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

import advdpnp
from advdpnp import cli
from test_command import started

ROOT = Path(__file__).parents[1]
HEADINGS = re.findall(r"^## \[([^]]+)\](?: - (\S+))?$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)


def test_the_newest_version_of_the_changelog_is_that_of_the_package_and_of_its_metadata() -> None:
    assert HEADINGS[0] == ("Unreleased", "")
    assert HEADINGS[1][0] == advdpnp.__version__
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == advdpnp.__version__


def test_every_section_of_the_changelog_is_one_of_keep_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert len(HEADINGS) == text.count("\n## ")
    kinds = set(re.findall(r"^### (.+)$", text, flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_releases_have_dates_and_stand_newest_first() -> None:
    dates = [date for _, date in HEADINGS[1:]]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for date in dates)
    assert dates == sorted(dates, reverse=True)


def test_the_citation_is_of_the_newest_release() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["date-released"].isoformat()) == HEADINGS[1]


def test_the_command_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert started(cli.app, capsys, "--version") == (0, f"advdpnp {advdpnp.__version__}\n", "")


def test_the_package_can_be_run_as_a_module(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["advdpnp", "--version"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("advdpnp", run_name="__main__")
    assert left.value.code in (None, 0)
    assert capsys.readouterr().out == f"advdpnp {advdpnp.__version__}\n"
