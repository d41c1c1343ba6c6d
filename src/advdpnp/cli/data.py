"""`advdpnp data ...`."""

from typing import Annotated

import typer

from advdpnp.cli.app import data_app
from advdpnp.cli.command import Answer, DataRoot, Switches, command

Name = Annotated[str, typer.Argument(help="Data set; see `advdpnp list data`.")]


@command(data_app)
def check(switches: Switches, name: Name, data_root: DataRoot = None) -> Answer:
    """Verify the MD5 sums of a data set's files."""
    from advdpnp import data

    checks = data.check(name, data.data_root(data_root))
    files = [
        {"path": str(file.path), "expected": file.expected, "actual": file.actual, "ok": file.ok} for file in checks
    ]
    nothing = f"{name}: {data.describe(name)['files']}, so there is nothing to check"
    text = "\n".join(file.text() for file in checks) or nothing
    return Answer({"data": name, "files": files}, text, status=0 if all(file.ok for file in checks) else 2)


@command(data_app)
def describe(switches: Switches, name: Name) -> Answer:
    """Facts about a data set."""
    from advdpnp import data

    facts = data.describe(name)
    return Answer(facts, "\n".join(f"{key:>16}  {value}" for key, value in facts.items()))
