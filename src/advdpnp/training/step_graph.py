"""A whole training step as one captured graph."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from advdpnp.cuda_graphs import Capture, Slots

Update = Callable[[Tensor, Tensor, Tensor], Tensor]


class StepGraph:
    """Captures `update` when it is first called and replays it afterwards.

    Args:
        update: (index (B,), epoch, step: 0-dim int64 tensors) -> loss terms (T,); changes model and optimizer in place.
        model: what it trains.
        optimizer: SGD whose learning rates are tensors.
        capture: such as `cuda_graph`; it may run the update a few times before it captures it.
    """

    def __init__(self, update: Update, model: nn.Module, optimizer: torch.optim.SGD, capture: Capture[Tensor]) -> None:
        self._update, self._model, self._optimizer, self._capture = update, model, optimizer, capture
        self._slots = Slots()
        self._replay: Callable[[], Tensor] | None = None

    def __call__(self, index: Tensor, epoch: int, step: int) -> Tensor:
        """Loss terms (T,) of one step; the tensor is overwritten by the next."""
        device = index.device
        # Filled on the device: a copy from the host's memory would make the host wait.
        counters = (torch.full((), value, dtype=torch.int64, device=device) for value in (epoch, step))
        slots = self._slots.fill(index, *counters)
        if self._replay is None:
            self._give_momentum()
            state = list(self._state())
            before = [tensor.detach().clone() for tensor in state]
            self._replay = self._capture(lambda: self._update(*slots))
            with torch.no_grad():
                for tensor, value in zip(state, before, strict=True):
                    tensor.copy_(value)
        return self._replay()

    def _give_momentum(self) -> None:
        # SGD makes its buffers in the first step, which a graph would repeat; zeros give the same first step.
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                state = self._optimizer.state[parameter]
                if state.get("momentum_buffer") is None and group["momentum"]:
                    state["momentum_buffer"] = torch.zeros_like(parameter)

    def _state(self) -> Iterator[Tensor]:
        yield from self._model.state_dict().values()
        for state in self._optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, Tensor))
