"""The stages by name; each takes what it is given and returns its status."""

from collections.abc import Callable

from gpu.context import Context
from gpu.ladder import compile_stage, ladder_stage
from gpu.measure import measure_stage
from gpu.pack import unpack_stage
from gpu.piece import state_in_stage, state_out_stage
from gpu.smoke import engine_stage, suites_stage
from gpu.train import train_stage
from gpu.weights import weights_stage

STAGES: dict[str, Callable[[Context], int]] = {
    "unpack": unpack_stage,
    "engine": engine_stage,
    "suites": suites_stage,
    "compile": compile_stage,
    "ladder": ladder_stage,
    "train": train_stage,
    "measure": measure_stage,
    "weights": weights_stage,
    "state-in": state_in_stage,
    "state-out": state_out_stage,
}
