"""An installed advdpnp is whole and works: files, commands, names, and one run through every stage.

Run it with the environment's Python in an empty folder; the argument is the folder of the sources.
"""

import subprocess
import sys
from pathlib import Path

import advdpnp

# A network of one epoch on 96 digits says nothing, but it passes through every stage in seconds.
SETTINGS = ("recipe.epochs=1", "recipe.train_images=96", "recipe.holdout=0", "recipe.attack.steps=2")


def files(package: Path) -> set[str]:
    found = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(package).as_posix() for path in found}


def check_files(sources: Path) -> None:
    """Templates, styles and py.typed are installed as the modules are."""
    package = Path(advdpnp.__file__).parent
    assert package.is_relative_to(sys.prefix), f"expected the package of {sys.prefix}; got {package}"
    assert files(package) == files(sources), f"differ: {sorted(files(package) ^ files(sources))}"
    assert (package / "py.typed").is_file()


def check_commands() -> None:
    command = Path(sys.executable).with_name("advdpnp")
    for arguments, expected in {
        ("--version",): f"advdpnp {advdpnp.__version__}",
        ("--help",): "evaluate",
        ("list",): "adv-dpnp",
    }.items():
        said = subprocess.run([command, *arguments], check=True, capture_output=True, text=True).stdout
        assert expected in said, f"advdpnp {' '.join(arguments)}: expected {expected!r} in {said!r}"


def check_names() -> None:
    for name in advdpnp.__all__:
        getattr(advdpnp, name)


def check_run() -> None:
    run = advdpnp.train(advdpnp.experiment("digits/tiny/adv-dpnp", settings=SETTINGS), "runs")
    advdpnp.evaluate(run.folder, "quick", limit=16)
    assert advdpnp.write_report([run.folder], Path("report")).is_file()
    advdpnp.export(run.folder, "exported", images=16)
    assert advdpnp.load("exported").training is False


if __name__ == "__main__":
    check_files(Path(sys.argv[1]))
    check_commands()
    check_names()
    check_run()
    print(f"The wheel of advdpnp {advdpnp.__version__} works.")
