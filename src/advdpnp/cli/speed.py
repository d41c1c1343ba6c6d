"""`advdpnp bench`."""

from pathlib import Path
from typing import Annotated

import typer

from advdpnp.cli.app import app
from advdpnp.cli.command import Answer, Switches, command, watching


@command(app)
def bench(
    switches: Switches,
    models: Annotated[list[str] | None, typer.Argument(help="Networks; by default what suits the device.")] = None,
    out: Annotated[Path, typer.Option(help="JSON file of the result.")] = Path("bench.json"),
    batch: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 128,
    steps: Annotated[int, typer.Option(min=1, help="Iterations of the attack.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Timings of each rung, taken in turn.")] = 5,
    minutes: Annotated[float, typer.Option(min=0, help="After them no rung is begun.")] = 5.0,
    check_engine: Annotated[
        list[str] | None, typer.Option(help="First compare this engine with folded, in fp32; may be repeated.")
    ] = None,
) -> Answer:
    """Measure the speed ladder on this machine: naive, folded, bf16, compiled, captured."""
    from advdpnp.api import resolve_device
    from advdpnp.bench import bench_text, run_bench
    from advdpnp.bench.engines import check_name

    on = resolve_device(switches.device)
    chosen = models or (["resnet18", "wrn-34-10"] if on.type == "cuda" else ["resnet8"])
    engines = check_engine or []
    for engine in engines:
        check_name(engine)
    with watching() as observer:
        result = run_bench(chosen, on, batch, steps, repeats, out, minutes, engines=engines, tell=observer.on_note)
    return Answer(result, bench_text(result))
