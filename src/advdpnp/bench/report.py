"""A benchmark's result as a table for people."""

from advdpnp.runs import Json

_HEADER = (
    "variant",
    "seconds",
    "min",
    "max",
    "x naive",
    "GFLOP/img",
    "TFLOP/s",
    "ceiling",
    "images/s",
    "MiB",
    "first run",
)


def bench_text(result: Json) -> str:
    """The tables of a benchmark, aligned; what was not measured, and why, stands below each table and at the end."""
    machine, protocol, ceilings = result["machine"], result["protocol"], result["ceilings"]
    on_gpu = machine["device"] != "cpu"
    where = machine["device"] if on_gpu else f"{machine['cpu']}, {machine['threads']} thread(s)"
    lines = [
        f"{where}; torch {machine['torch']}; load average {machine['load_average']} at the beginning",
        f"batch {protocol['batch']}, PGD-{protocol['steps']}, medians of {protocol['repeats']} taken in turn; seconds "
        + ("on the GPU" if on_gpu else "of CPU time; MiB is the whole process's largest size so far"),
        "ceilings: " + ", ".join(_ceiling(name, rate) for name, rate in ceilings.items() if isinstance(rate, float)),
    ]
    if not on_gpu and not machine["bf16_instructions"]:
        lines.append("this processor has no bf16 instructions: the targets for bf16 hold only with them")
    lines += [_engine_text(checked) for checked in result.get("engines", ())]
    for name, tables in result["models"].items():
        for kind in ("attack", "step"):
            if kind in tables:
                lines += ["", f"{name}, {kind}", *_table(tables[kind])]
        if "bookkeeping" in tables:
            lines.append(_bookkeeping_text(tables["bookkeeping"]))
    if "convolutions" in ceilings:
        lines += ["", "3x3 convolutions, TFLOP/s", *_convolutions(ceilings["convolutions"])]
    lines += [_stem_text(row) for row in ceilings.get("stem", ())]
    if result["left_out"]:
        lines += ["", "left out: " + ", ".join(result["left_out"])]
    return "\n".join(lines)


def _ceiling(name: str, rate: float) -> str:
    what, _, unit = name.partition("_")
    return f"{what} {rate:g} {'GB/s' if unit.startswith('gb') else 'TFLOP/s'}"


def _align(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) if i == 0 or len(row) == 2 else cell.rjust(width) for i, (cell, width) in pairs)
        for row in rows
        for pairs in [list(enumerate(zip(row, widths, strict=False)))]
    ]


def _table(table: Json) -> list[str]:
    # A reason is long, and as a cell would widen its column.
    full = _align([_HEADER, *(_cells(name, entry) for name, entry in table.items() if "seconds" in entry)])
    missing = [
        f"{name}: {entry.get('error') or entry.get('skipped')}"
        for name, entry in table.items()
        if "seconds" not in entry
    ]
    compared = [
        f"{name}: {entry['differing_pixels']:.3%} of pixels differ from input_gradient, "
        f"by at most {entry['largest_difference']:.2g}; "
        f"robust accuracy {entry['robust_accuracy']:.1%}, loss {entry['mean_loss']:.4f}"
        for name, entry in table.items()
        if "differing_pixels" in entry
    ]
    return full + missing + compared


def _cells(name: str, entry: Json) -> tuple[str, ...]:
    return (
        name,
        f"{entry['seconds']:.4g}",
        f"{min(entry['times']):.4g}",
        f"{max(entry['times']):.4g}",
        f"{entry['times_naive']:.2f}" if "times_naive" in entry else "-",
        f"{entry['gflop_per_image']:.4g}",
        f"{entry['tflop_per_second']:.4g}",
        f"{entry['fraction_of_ceiling']:.1%}",
        f"{entry['images_per_second']:.4g}",
        f"{entry['peak_memory_mib']:.0f}",
        f"{entry['warm_up_seconds']:.3g}",
    )


def _bookkeeping_text(entry: Json) -> str:
    text = f"making the batch, the check for NaN and sums: {entry['share_of_step']:.2%} of a folded step"
    if "checkpoint_seconds" in entry:
        share = entry["checkpoint_share_per_minute"]
        text += f"; a checkpoint takes {entry['checkpoint_seconds']:.3g} s, {share:.2%} of a minute"
    return text


def _engine_text(checked: Json) -> str:
    if checked["agrees"]:
        return f"engine {checked['engine']} agrees with folded, up to {checked['largest_difference']:.2g} of a step"
    found = checked["error"] or f"{checked['largest_difference']:.2g} of a step, more than {checked['bound']:.2g}"
    return f"engine {checked['engine']} is not to be trusted: {found}"


def _stem_text(row: Json) -> str:
    times = f"forward {1e6 * row['forward_seconds']:.4g} us, to images {1e6 * row['to_images_seconds']:.4g} us"
    return f"bf16 stem with {row['channels']} channels: {times}"


def _convolutions(rows: list[Json]) -> list[str]:
    header = ("", "layout", "channels", "size", "forward", "to images", "to weights")
    cells = [
        (
            *(str(row[key]) for key in ("precision", "layout", "channels", "size")),
            *(f"{row[key]:.4g}" for key in ("forward", "to_images", "to_weights")),
        )
        for row in rows
    ]
    return _align([header, *cells])
