"""What `advdpnp list` shows is what the registries say, and showing it imports none of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from advdpnp import catalog
from advdpnp.defenses import AT, DEFENSES
from advdpnp.descriptions import described, index_text

ENTRY_POINTS = "[advdpnp.defenses]\nnoisy = noisy:Noisy\n"


def test_the_index_is_what_the_registries_say() -> None:
    assert catalog.INDEX.read_text() == index_text(), "a registry or a description was changed: run make catalog"


def test_list_shows_all_names_and_installed_defenses_and_imports_neither_torch_nor_numpy(tmp_path: Path) -> None:
    package = tmp_path / "noisy-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: noisy\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(ENTRY_POINTS)
    code = (
        "import sys\nfrom advdpnp.cli import app\napp(['list', '--json'], standalone_mode=False)\n"
        "print([m for m in ('torch', 'numpy', 'scipy', 'sklearn', 'noisy') if m in sys.modules], file=sys.stderr)"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(catalog.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.stderr.strip() == "[]"
    shown = json.loads(done.stdout)
    assert shown["defenses"].pop("noisy") == "an installed package's: noisy:Noisy"
    assert shown == described()


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registries' files in a folder of their own, which the catalog reads as if it had imported nothing."""
    for name in catalog.digests():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((Path(catalog.__file__).parent / name).read_bytes())
    monkeypatch.setattr(catalog, "_PACKAGE", tmp_path)
    monkeypatch.delitem(sys.modules, "advdpnp.defenses")
    return tmp_path


INDEXED = {"defenses": {"at": "as the index has it"}}


@pytest.mark.parametrize("changed", ["", *catalog.digests()])
def test_the_index_is_read_as_long_as_no_registry_has_changed(
    changed: str, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "INDEX", copied / "index.json")
    catalog.INDEX.write_text(json.dumps({"registries": catalog.digests(), "tables": INDEXED}))
    if changed:
        with (copied / changed).open("a") as file:
            file.write("# one more\n")
    assert catalog.catalog() == (described() if changed else INDEXED)


def test_without_an_index_the_registries_are_asked(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "INDEX", copied / "index.json")
    assert catalog.catalog() == described()


def test_a_defense_that_was_registered_by_hand_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEFENSES, "mine", AT)
    assert catalog.catalog("defenses")["defenses"]["mine"] == described()["defenses"]["at"]
