"""The benchmark: variants of the attack and of the training step, from naive to fastest, timed on this machine."""

from advdpnp.bench.report import bench_text
from advdpnp.bench.run import run_bench

__all__ = ["bench_text", "run_bench"]
