"""What the tasks of a sweep are done with."""

from dataclasses import dataclass
from pathlib import Path

from advdpnp.ranges import Count, NonNegative, check_fields


@dataclass(frozen=True)
class Means:
    """What tasks are done with.

    Args:
        device: torch device; None for the GPU where there is one.
        threads: CPU threads of each task; None leaves torch's count.
        data_root: folder of the data files.
        checkpoint_seconds: how much work a kill may cost.
        plugins: references of defenses from elsewhere, which the user of this sweep has named.
    """

    device: str | None = None
    threads: Count | None = None
    data_root: Path | None = None
    checkpoint_seconds: NonNegative = 60.0
    plugins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
