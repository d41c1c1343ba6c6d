"""Names of runs come from names of files and networks, whatever system these are from."""

from pathlib import Path, PureWindowsPath

import pytest

from advdpnp.data.specs import slug
from advdpnp.external import ExternalModel
from advdpnp.folder_names import check_name, folder_name

# What Windows refuses in a name, with the separators of both systems.
REFUSED = set('<>:"/\\|?*') | {chr(code) for code in range(32)}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("photos", "photos"),
        ("C:\\Users\\me\\my photos", "C-Users-me-my-photos"),
        ("D:", "D"),
        ("/home/me", "home-me"),
        ('cat|dog?*<>"', "cat-dog"),
        ("wrn-34-10", "wrn-34-10"),
        ("lenets++", "lenets++"),
        ("café 船", "café-船"),
        ("ends with a dot.", "ends-with-a-dot"),
        ("CON", "CON-"),
        ("nul.old", "nul.old-"),
        ("com1", "com1-"),
        ("console", "console"),
        ("..", ""),
        ("x" * 100, "x" * 60),
    ],
)
def test_a_name_is_one_that_every_system_can_have(text: str, name: str) -> None:
    assert folder_name(text) == name
    assert not set(name) & REFUSED and not name.endswith((".", " "))


@pytest.mark.parametrize(
    ("path", "name"),
    [("C:\\photos\\my cats", "my-cats"), ("C:\\", "images"), ("\\\\server\\share\\a", "a"), ("D:aux", "aux-")],
)
def test_a_folder_of_windows_names_its_run(path: str, name: str) -> None:
    assert slug(PureWindowsPath(path).name) == name


@pytest.mark.parametrize("reference", ["C:\\nets\\mine.py:Net", "nets.py:Net", "pkg.nets:Net"])
def test_a_network_is_called_after_its_callable(reference: str) -> None:
    assert ExternalModel(reference).name == "Net"


def test_what_a_run_is_written_with_needs_no_function_that_windows_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from advdpnp import runs

    monkeypatch.delattr(runs.os, "fchmod")
    runs.write_bytes(tmp_path / "a", b"b")
    assert (tmp_path / "a").read_bytes() == b"b"


@pytest.mark.parametrize("text", ["a", "über-3.1_x@y+z", "..a", "a..", "x" * 200])
def test_a_name_may_hold_what_names_hold(text: str) -> None:
    check_name("--name", text)


# The last one took minutes while a pattern tried each of its characters as the end of a beginning.
@pytest.mark.parametrize("text", ["", ".", "...", "a/b", "a b", "a\n", "x" * 201, "9" * 300_000 + "/"], ids=range(8))
def test_other_names_are_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match=r"--name must be letters, digits and \._"):
        check_name("--name", text)
