"""One evaluation of an arm; what a stop leaves goes on from there."""

import torch

from advdpnp import api
from advdpnp.bench.timing import one_line
from gpu.context import Context, OutOfTimeError, Watch
from gpu.processes import AGAIN, DONE, FAILED


def measure_stage(context: Context) -> int:
    """Measure the arm in the options with its suite; the result is written into the run's folder."""
    options = context.options
    context.keep(arm=options["arm"], suite=options["suite"])
    torch.backends.cudnn.benchmark = True
    try:
        result = api.evaluate(
            context.run_folder(options["arm"]),
            options["suite"],
            limit=options["limit"],
            data_root=context.places.data,
            resume=True,
            search_precision=options["precision"],
            callback=Watch(context),
        )
    except OutOfTimeError:
        return AGAIN
    except Exception as error:
        context.keep(error=one_line(error))
        return FAILED
    context.keep(n=result["n"], clean=result["clean_accuracy"], worst=result["worst_case_accuracy"])
    return DONE
