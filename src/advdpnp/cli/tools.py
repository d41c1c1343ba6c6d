"""`advdpnp demo`, `advdpnp bench`, `advdpnp show` and `advdpnp list`."""

from pathlib import Path
from typing import Annotated

import typer

from advdpnp.cli.command import (
    Answer,
    DataRoot,
    ImageSize,
    SkipBroken,
    SplitSeed,
    Switches,
    allow_named,
    app,
    command,
    showing_progress,
)
from advdpnp.cli.train import check_names


@command(app)
def demo(
    switches: Switches,
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("report"),
    runs: Annotated[Path, typer.Option(help="Folder of the demo's runs.")] = Path("demo-runs"),
    seed: Annotated[int, typer.Option(help="Seed of the training runs.")] = 0,
) -> Answer:
    """Train ST, AT, TRADES and Adv-DPNP on the embedded digits, attack them, and write a report. About 2 minutes."""
    from advdpnp.demo import run_demo

    page = run_demo(out, runs, seed).resolve()
    return Answer({"page": str(page)}, f"The report is at {page}")


@command(app, plugins=True)
def bench(
    switches: Switches,
    models: Annotated[list[str] | None, typer.Argument(help="Networks; by default what suits the device.")] = None,
    defense: Annotated[str, typer.Option(help="Method whose training step is timed.")] = "adv-dpnp",
    out: Annotated[Path, typer.Option(help="JSON file of the result.")] = Path("bench.json"),
    batch: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 128,
    steps: Annotated[int, typer.Option(min=1, help="Iterations of the attack.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Timings of each variant, taken in turn.")] = 5,
    minutes: Annotated[float, typer.Option(min=0, help="After them no variant is begun.")] = 5.0,
    check_engine: Annotated[
        list[str] | None, typer.Option(help="First compare this engine with folded, in fp32; may be repeated.")
    ] = None,
) -> Answer:
    """Time the variants of attack and training step on this machine: naive, folded, bf16, compiled, captured."""
    from advdpnp.api import resolve_device
    from advdpnp.bench import bench_text, run_bench
    from advdpnp.bench.engines import check_name
    from advdpnp.experiments import experiment

    on = resolve_device(switches.device)
    chosen = models or (["resnet18", "wrn-34-10"] if on.type == "cuda" else ["resnet8"])
    for network in chosen:
        experiment(f"cifar10/{network}/{defense}")
    engines = check_engine or []
    for engine in engines:
        check_name(engine)
    with showing_progress() as callback:
        result = run_bench(
            chosen, on, batch, steps, repeats, out, minutes, engines=engines, defense=defense, tell=callback.on_note
        )
    return Answer(result, bench_text(result))


@command(app, plugins=True)
def show(
    switches: Switches,
    name: Annotated[
        str | None, typer.Argument(help="data/backbone/defense, as in cifar10/resnet18/mart; or --data.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="In place of the name: folder:PATH, or a data set.")] = None,
    model: Annotated[str | None, typer.Option(help="With --data: backbone; by default resnet18.")] = None,
    defense: Annotated[str | None, typer.Option(help="With --data: method; by default adv-dpnp.")] = None,
    image_size: ImageSize = None,
    split_seed: SplitSeed = 0,
    skip_broken: SkipBroken = False,
    recipe: Annotated[str, typer.Option(help="paper, official (of the defense's authors), or default.")] = "default",
    config: Annotated[Path | None, typer.Option(help="YAML file with fields to override.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Field to override: recipe.epochs=2.")] = None,
    data_root: DataRoot = None,
) -> Answer:
    """Print the whole configuration that `train` would run with, as YAML; parts of it are what --config takes."""
    import yaml

    from advdpnp.api.named_data import facts_of, usual_size
    from advdpnp.experiments import experiment, experiment_on, read_changes

    check_names(name, data, model, defense)
    options = recipe, 0, "", read_changes(config) if config else None, set_ or ()
    with showing_progress() as callback:
        if data is None:
            wanted = experiment(name or "", *options)
        else:
            backbone = model or "resnet18"
            allow_named(backbone)
            image_size = usual_size(data, image_size, backbone, callback.on_note)
            facts = facts_of(data, image_size, split_seed, skip_broken, data_root, callback.on_note)
            wanted = experiment_on(facts, backbone, defense or "adv-dpnp", *options)
    values = wanted.config()
    return Answer(values, yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip())


@command(app, "list", plugins=True)
def list_names(
    switches: Switches,
    kind: Annotated[str, typer.Argument(help="defenses, attacks, suites, data, models, recipes; all by default.")] = "",
) -> Answer:
    """List the names that other commands take, with a description of each."""
    from advdpnp.catalog import catalog, catalog_text

    tables = catalog(kind)
    return Answer(tables, catalog_text(tables))
