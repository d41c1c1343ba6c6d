"""The speed ladder: the same work done in faster and faster ways, timed in turn on this machine."""

from advdpnp.bench.report import bench_text
from advdpnp.bench.run import run_bench

__all__ = ["bench_text", "run_bench"]
