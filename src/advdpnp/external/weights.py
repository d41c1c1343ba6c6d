"""Loads a weights file from anywhere into a network, without running code from the file."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from advdpnp.ranges import nearest

State = dict[str, Tensor]

# Names that wrappers such as DataParallel put into keys, and the counter of averaged models.
_WRAPPERS = {"module", "_orig_mod"}
_COUNTERS = {"n_averaged"}
# Levels of nested mappings in which state dicts are looked for.
_DEPTH = 3
# Files of whole networks, and what to do with them.
_NO_WEIGHTS = {
    ".pt2": "a program of torch.export, which is a whole network: give it as --model, without --weights",
    ".onnx": "an ONNX graph, which gives no gradients to attack with: evaluate the run or exported folder that it is "
    "from, or a .pt2 file of it as --model",
}
_CURE = "save its weights alone with torch.save(model.state_dict(), ...), where you trust it"


def read_checkpoint(path: Path) -> Any:
    """What a weights file holds, tensors on the CPU: safetensors, or a torch file of either format.

    Raises:
        FileNotFoundError: no such file. ValueError: damaged, or it holds more than tensors and plain values, such as
            a whole pickled module; nothing of it is run.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}: give a .safetensors or torch file")
    if path.suffix in _NO_WEIGHTS:
        raise ValueError(f"{path} is {_NO_WEIGHTS[path.suffix]}")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            state: State = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            aliases = file.metadata() or {}
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is damaged, or no safetensors file ({error}): restore it") from None
    # `safetensors.torch.save_model` drops all names but one of a tied tensor, and notes {dropped: kept}.
    return state | {name: state[kept] for name, kept in aliases.items() if name not in state and kept in state}


def _read_torch(path: Path) -> Any:
    import warnings

    try:
        with warnings.catch_warnings():
            # torch advises its own developers on old storage classes here.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a crafted file can fail in any way that the reader can
        text = " ".join(str(error).split())
        wanted = re.search(r"(?:GLOBAL|Unsupported class|Unsupported global:?) (?:GLOBAL )?([\w.]+)", text)
        if wanted:
            reason = f"{path} wants to run code ({wanted[1]}), as a pickled module does, and is refused"
        elif "TorchScript" in text:
            reason = f"{path} is a TorchScript program, not weights"
        else:
            reason = f"{path} is damaged, or no weights file ({type(error).__name__})"
        raise ValueError(f"{reason}: {_CURE}") from None


def load_weights(model: nn.Module, content: Any, key: str = "", source: str = "the weights file") -> list[str]:
    """Load the state in what `read_checkpoint` gave; prefixes of wrappers are taken off.

    Args:
        model: the network, changed in place.
        content: a state dict, or one inside mappings, as under "state_dict", "model" or "net".
        key: dotted name of the state dict, where there are several.
        source: name of the file, for messages.
    Returns:
        What the user should know, such as weights that are stored in half precision.
    Raises:
        ValueError: no or several state dicts; missing, unexpected or mis-shaped entries.
    """
    wanted = model.state_dict()
    state = _aligned(_choose(content, wanted, key, source), wanted)
    _check_fits(state, wanted, source)
    model.load_state_dict(state, strict=False)
    narrow = sorted({str(t.dtype) for t in state.values() if t.dtype in (torch.float16, torch.bfloat16)})
    return [f"weights are stored as {', '.join(narrow)}: they are computed with in float32"] if narrow else []


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def _states(content: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    if _is_state(content):
        yield path, dict(content)
    elif isinstance(content, Mapping) and depth < _DEPTH:
        for name, value in content.items():
            if isinstance(name, str):
                yield from _states(value, f"{path}.{name}" if path else name, depth + 1)


def _choose(content: Any, wanted: Mapping[str, Any], key: str, source: str) -> State:
    found = dict(_states(content))
    if key:
        if key not in found:
            raise ValueError(f"{source} has no weights under {key!r}; there are: {_named(found)}")
        return found[key]
    if not found:
        held = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f"{source} holds no state dict, only {held or 'nothing'}: {_CURE}")
    fitting = {path: state for path, state in found.items() if _aligned(state, wanted).keys() & wanted.keys()}
    chosen = fitting or found
    if len(chosen) > 1:
        raise ValueError(f"{source} holds several weights ({_named(chosen)}): choose one with --weights-key")
    return next(iter(chosen.values()))


def _named(states: Iterable[str]) -> str:
    return ", ".join(path or "the top level" for path in states) or "none"


def _aligned(state: Mapping[str, Tensor], wanted: Mapping[str, Any]) -> State:
    """The state under the network's names: what wrappers add is dropped, uniform prefixes are taken off or put on."""
    foreign = _WRAPPERS - {part for name in wanted for part in name.split(".")}
    plain: State = {}
    for name, tensor in state.items():
        if name not in _COUNTERS or name in wanted:
            plain[".".join(part for part in name.split(".") if part not in foreign)] = tensor
    own = "".join(f"{part}." for part in _shared(wanted))
    options = [
        {put_on + ".".join(name.split(".")[taken_off:]): tensor for name, tensor in plain.items()}
        for put_on in ("", own)
        for taken_off in range(len(_shared(plain)) + 1)
    ]
    # The first of the best: the one that changes least.
    return max(options, key=lambda option: len(option.keys() & wanted.keys()))


def _shared(names: Iterable[str]) -> list[str]:
    """The leading parts that all names share."""
    groups = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    # As far as the shortest name goes.
    for parts in zip(*groups, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return shared


def _check_fits(state: State, wanted: Mapping[str, Tensor], source: str) -> None:
    # Files that are older than PyTorch 0.4.1 do not count batches, and nothing depends on it.
    missing = [
        name
        for name in wanted
        if not (name in state or name.endswith("num_batches_tracked") or _loaded_by_another(name, wanted, state))
    ]
    # Of one tensor under two names, as aliases in safetensors are, one name is enough.
    used = {id(tensor) for name, tensor in state.items() if name in wanted}
    unexpected = [name for name, tensor in state.items() if name not in wanted and id(tensor) not in used]
    shaped = [
        f"{name} {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and not is_lazy(tensor) and state[name].shape != tensor.shape
    ]
    problems = []
    if missing:
        problems.append(f"{len(missing)} missing ({', '.join(_with_nearest(missing[:3], unexpected))})")
    if unexpected:
        problems.append(f"{len(unexpected)} unexpected ({', '.join(unexpected[:3])})")
    if shaped:
        problems.append(f"{len(shaped)} of another shape ({'; '.join(shaped[:3])})")
    elif contradictions := _contradictions(state, wanted):
        problems.append(
            f"{len(contradictions)} pairs that are one tensor there differ ({', '.join(contradictions[:3])})"
        )
    if problems:
        raise ValueError(
            f"{source} does not fit the network of {len(wanted)} entries: {', '.join(problems)}: "
            "give the callable and --model-arg that these weights were trained with"
        )


def _tied(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of a network are in the same memory."""
    if is_lazy(a) or is_lazy(b) or a.is_meta or a.device != b.device or not a.numel():
        return False
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _same_elements(a: Tensor, b: Tensor) -> bool:
    return (a.storage_offset(), a.shape, a.stride()) == (b.storage_offset(), b.shape, b.stride())


def _loaded_by_another(name: str, wanted: Mapping[str, Tensor], state: State) -> bool:
    """Whether a tensor is tied to one that is loaded and covers it, so that it gets its values."""
    tensor = wanted[name]
    tied = [other for key, other in wanted.items() if key in state and _tied(tensor, other)]
    return any(
        _same_elements(tensor, other) or other.numel() * other.element_size() == other.untyped_storage().nbytes()
        for other in tied
    )


def _contradictions(state: State, wanted: Mapping[str, Tensor]) -> list[str]:
    """Names that are one tensor in the network and have different values in the file."""
    first: dict[tuple[Any, ...], str] = {}
    found = []
    for name, tensor in wanted.items():
        if name not in state or is_lazy(tensor) or tensor.is_meta or not tensor.numel():
            continue
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride())
        other = first.setdefault(place, name)
        if other != name and not torch.equal(state[name].double(), state[other].double()):
            found.append(f"{name} and {other}")
    return found


def _with_nearest(missing: list[str], unexpected: list[str]) -> Iterator[str]:
    for name in missing:
        near = nearest(name, unexpected, 1, cutoff=0.5)
        yield f"{name}, nearest {near}" if near else name
