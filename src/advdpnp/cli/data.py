"""`advdpnp data ...`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advdpnp.cli.app import data_app
from advdpnp.cli.command import Answer, DataRoot, Switches, command
from advdpnp.cli.images import ImageSize, SkipBroken, SplitSeed, facts_of

if TYPE_CHECKING:
    from advdpnp.data import DataSpec, FileCheck

Name = Annotated[str, typer.Argument(help="Data set; see `advdpnp list data`.")]


def _answer(name: str, checks: "list[FileCheck]") -> Answer:
    files = [
        {"path": str(file.path), "expected": file.expected, "actual": file.actual, "ok": file.ok} for file in checks
    ]
    text = "\n".join(file.text() for file in checks) or f"{name}: embedded in scikit-learn, so there are no files"
    return Answer({"data": name, "files": files}, text, status=0 if all(file.ok for file in checks) else 2)


@command(data_app)
def check(switches: Switches, name: Name, data_root: DataRoot = None) -> Answer:
    """Verify the MD5 sums of a data set's files."""
    from advdpnp import data

    return _answer(name, data.check(name, data.data_root(data_root)))


@command(data_app)
def download(
    switches: Switches,
    name: Name,
    mirror: Annotated[str | None, typer.Option("--from", help="Address of a folder that holds the archives.")] = None,
    data_root: DataRoot = None,
) -> Answer:
    """Fetch a published data set; an interrupted download goes on where it stopped."""
    from advdpnp import data
    from advdpnp.cli.transfer import transferring

    with transferring() as listener:
        return _answer(name, data.download(name, data.data_root(data_root), mirror, listener))


@command(data_app)
def describe(
    switches: Switches,
    name: Annotated[str, typer.Argument(help="Data set, see `advdpnp list data`, or folder:PATH.")],
    image_size: ImageSize = None,
    split_seed: SplitSeed = 0,
    skip_broken: SkipBroken = False,
    out: Annotated[Path | None, typer.Option(help="PNG with images of each class; by default NAME.png.")] = None,
    data_root: DataRoot = None,
) -> Answer:
    """Facts about a data set; where its files are, counts, statistics and a picture of each class."""
    from advdpnp import data

    root = data.data_root(data_root)
    facts = facts_of(name, image_size, split_seed, skip_broken, root, _tell)
    value: dict[str, Any] = {**data.describe(facts)}
    lines = [f"{key:>16}  {text}" for key, text in value.items()]
    try:
        images = data.load_splits(facts, root)
    except FileNotFoundError as error:
        nothing = f"nothing is counted or drawn: {error}"
        return Answer(value | {"splits": None, "sheet": None}, "\n".join([*lines, nothing]))
    splits = {split: data.measure(part, facts) for split, part in images.items()}
    lines += [f"{split:>16}  {data.measure_text(found)}" for split, found in splits.items()]
    sheet = out or Path(f"{facts.name.replace('/', '-')}.png")
    _draw(facts, next(iter(images.values())), sheet)
    return Answer(value | {"splits": splits, "sheet": str(sheet)}, "\n".join([*lines, f"{'sheet':>16}  {sheet}"]))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _draw(facts: "DataSpec", images: Any, path: Path) -> None:
    from advdpnp import data
    from advdpnp.runs import write_bytes

    write_bytes(path, data.contact_sheet(images, facts.class_names))
