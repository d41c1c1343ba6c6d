"""Weights files of all kinds, and what is refused of them."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from advdpnp.external import load_weights, read_checkpoint
from external.networks import Plain


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))


STATE = network(1).state_dict()


def loaded(content: Any, key: str = "", into: nn.Module | None = None) -> nn.Module:
    model = into or network()
    load_weights(model, content, key)
    return model


def said(content: Any, key: str = "", into: nn.Module | None = None) -> str:
    return load_weights(into or network(), content, key).text("w.pt")


def equal(model: nn.Module) -> bool:
    return all(torch.equal(tensor, STATE[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("legacy", [True, False])
def test_both_torch_formats_and_safetensors_are_read(legacy: bool, tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    save_file(STATE, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        assert equal(loaded(read_checkpoint(tmp_path / name)))


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in STATE.items()}


@pytest.mark.parametrize(
    "content",
    [
        prefixed("module."),
        prefixed("model."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod.model."),
        {"n_averaged": torch.tensor(3), **prefixed("module.")},
        {"state_dict": STATE, "epoch": 3, "best": 0.5, "args": {"lr": 0.1}},
        {"net": {"state_dict": prefixed("module.")}},
        {"model": STATE, "optimizer": torch.optim.SGD(network().parameters(), 0.1, momentum=0.9).state_dict()},
        {"model": STATE, "normalize": {"mean": torch.zeros(1), "std": torch.ones(1)}},
        {name.replace("3.", "3.module."): tensor for name, tensor in STATE.items()},
        {name: tensor for name, tensor in STATE.items() if "num_batches" not in name},
    ],
    ids=lambda content: ",".join(list(content)[:2]),
)
def test_the_field_s_usual_nestings_and_prefixes_are_taken_off(content: Any) -> None:
    model = network()
    model[1].num_batches_tracked.copy_(STATE["1.num_batches_tracked"])
    assert equal(loaded(content, into=model))


def test_a_network_with_a_prefix_of_its_own_gets_it_put_on() -> None:
    whole = nn.ModuleDict({"backbone": network()})
    for content in (STATE, prefixed("module."), prefixed("backbone.")):
        loaded(content, into=whole)
        assert equal(whole["backbone"])


def test_several_weights_are_named_and_chosen_by_key() -> None:
    content = {"model": network(2).state_dict(), "ema": {"module": STATE}}
    with pytest.raises(ValueError, match=r"several weights \(model, ema.module\): choose one with --weights-key"):
        loaded(content)
    assert equal(loaded(content, "ema.module"))
    with pytest.raises(ValueError, match=r"no weights under 'emma'; there are: model, ema.module"):
        loaded(content, "emma")


def test_half_precision_is_said_and_computed_in_float32() -> None:
    model = network()
    half = {name: t.half() if t.is_floating_point() else t for name, t in STATE.items()}
    (note,) = load_weights(model, half).cautions
    assert "torch.float16" in note and model[0].weight.dtype == torch.float32


class Tied(nn.Module):
    """A decoder that is the encoder's matrix, and a scale that is used twice."""

    def __init__(self, tied: bool = True, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder, self.decoder = nn.Linear(8, 8), nn.Linear(8, 8)
        self.scales = nn.ParameterList([nn.Parameter(torch.rand(3)) for _ in range(2)])
        if tied:
            self.decoder.weight = self.encoder.weight
            self.scales[1] = self.scales[0]


def test_one_name_of_a_tied_tensor_is_enough(tmp_path: Path) -> None:
    source = Tied(seed=1)
    save_model(source, str(tmp_path / "w.safetensors"))
    content = read_checkpoint(tmp_path / "w.safetensors")
    # Whether the network is tied or not: the file says which names it dropped.
    for model in (Tied(), Tied(tied=False)):
        loaded(content, into=model)
        assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in model.state_dict().items())
    # Without such a note, the network's own ties say so.
    plain = {n: t.clone() for n, t in source.state_dict().items() if n not in ("encoder.weight", "scales.0")}
    model = loaded({f"module.{name}": tensor for name, tensor in plain.items()}, into=Tied())
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(ValueError, match=r"2 missing \(encoder\.weight, .*scales\.0"):
        loaded(plain, into=Tied(tied=False))


def test_a_view_is_loaded_by_the_whole_and_not_the_whole_by_a_view() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            whole = torch.zeros(4, 4)
            self.whole, self.transposed, self.row = (nn.Parameter(t) for t in (whole, whole.T, whole[1]))

    values = torch.arange(16.0).view(4, 4)
    model = loaded({"whole": values}, into=Views())
    assert torch.equal(model.transposed, values.T) and torch.equal(model.row, values[1])
    with pytest.raises(ValueError, match=r"2 missing \(whole, transposed\)"):
        loaded({"row": values[1]}, into=Views())


def test_values_that_contradict_each_other_are_refused_for_one_tensor() -> None:
    with pytest.raises(ValueError, match=r"2 pairs that are one tensor there differ \(decoder\.weight and encoder"):
        loaded(Tied(tied=False, seed=1).state_dict(), into=Tied())


def test_an_alias_that_the_network_does_not_have_is_no_obstacle(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors", metadata={"head.weight": "3.weight", "format": "pt"})
    assert equal(loaded(read_checkpoint(tmp_path / "w.safetensors")))


def test_what_does_not_fit_is_counted_and_named_in_one_line() -> None:
    content = {"conv.weight": STATE["0.weight"], **{n: t for n, t in STATE.items() if not n.startswith("0.")}}
    content["3.weight"] = torch.zeros(10, 7)
    with pytest.raises(ValueError) as refused:
        loaded(content)
    text = str(refused.value)
    assert "network of 9 entries" in text and "2 missing (0.weight, nearest conv.weight, 0.bias" in text
    assert "1 unexpected (conv.weight)" in text and "1 of another shape (3.weight (10, 7), not (10, 144))" in text
    assert "\n" not in text


class Bomb:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.write_text, (self.target, "run")


def plain_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def zipped(content: Any, path: Path) -> None:
    torch.save(content, path)


def legacy(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [plain_pickle, zipped, legacy])
def test_a_file_that_wants_to_run_code_is_refused_and_does_not_run(
    write: Callable[[Any, Path], None], tmp_path: Path
) -> None:
    written, path = tmp_path / "written", tmp_path / "bomb.pt"
    for content in (Bomb(written), {"state_dict": {**STATE, "0.bias": Bomb(written)}}):
        write(content, path)
        with pytest.raises(ValueError, match=r"refused|no weights file"):
            read_checkpoint(path)
        assert not written.exists()
    # The same bomb goes off where pickles are trusted.
    write(Bomb(written), path)
    torch.load(path, weights_only=False) if write is not plain_pickle else pickle.loads(path.read_bytes())
    assert written.exists()


@pytest.mark.parametrize("write", [zipped, legacy])
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_whole_pickled_module_is_refused_with_the_cure(write: Callable[[Any, Path], None], tmp_path: Path) -> None:
    write(Plain(), tmp_path / "model.pt")
    path = tmp_path / "a model.pt"
    (tmp_path / "model.pt").rename(path)
    with pytest.raises(ValueError, match=r"wants to run code \(external.networks.Plain\)") as refused:
        read_checkpoint(path)
    assert f"`advdpnp weights convert '{path}'` takes its tensors out" in str(refused.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    torch.jit.trace(Plain(), torch.zeros(1, 1, 8, 8)).save(str(tmp_path / "script.pt"))
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pt").write_text("weights, weights")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    torch.save(STATE, tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:500])
    for name, message in (
        ("script.pt", "TorchScript"),
        ("empty.pt", "damaged, or no weights file"),
        ("text.pt", "no weights file"),
        ("cut.pt", "damaged"),
        ("cut.safetensors", "damaged"),
    ):
        with pytest.raises(ValueError, match=message) as refused:
            read_checkpoint(tmp_path / name)
        assert "\n" not in str(refused.value)
    with pytest.raises(FileNotFoundError, match="no weights file at"):
        read_checkpoint(tmp_path / "nowhere.pt")
    for content in ({}, {"epoch": 3}, [1, 2], 7):
        with pytest.raises(ValueError, match="holds no state dict"):
            loaded(content)


@pytest.mark.parametrize("write", [zipped, legacy])
def test_weights_saved_on_a_gpu_are_read_without_one(
    write: Callable[[Any, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What torch writes of a storage on a GPU.
    monkeypatch.setattr("torch.serialization.location_tag", lambda storage: "cuda:0")
    write(STATE, tmp_path / "w.pt")
    monkeypatch.undo()
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(tmp_path / "w.pt", weights_only=True)
    assert equal(loaded(read_checkpoint(tmp_path / "w.pt")))


def other(seed: int = 2) -> dict[str, torch.Tensor]:
    return network(seed).state_dict()


METRIC = {"train_acc.tp": torch.zeros(10, dtype=torch.int64), "train_acc.total": torch.tensor(3.0)}


@pytest.mark.parametrize("prefix", ["model.", "net.", "backbone.", "module._orig_mod.model.net.", "module."])
def test_a_trainer_s_checkpoint_is_loaded_from_under_its_prefix_and_the_rest_is_named(prefix: str) -> None:
    content = {
        "epoch": 3,
        "state_dict": {**prefixed(prefix), **METRIC, "loss_fn.weight": torch.ones(10)},
        "callbacks": {"ModelCheckpoint": {"best": torch.tensor(0.5), "paths": {"a.ckpt": torch.tensor(0.5)}}},
        "optimizer_states": [torch.optim.Adam(network().parameters()).state_dict()],
        "hyper_parameters": {"lr": 0.1},
    }
    assert equal(loaded(content))
    text = said(content)
    assert text.startswith(f"weights: state_dict.{prefix.rstrip('.')} of w.pt, 9 entries; not used: ")
    for name in ("train_acc", "loss_fn", "callbacks", "optimizer_states", "hyper_parameters", "epoch"):
        assert name in text


def test_metrics_and_losses_lie_beside_a_network_without_a_prefix_but_layers_do_not() -> None:
    content = {**STATE, **METRIC, "criterion.weight": torch.ones(10)}
    assert equal(loaded(content)) and said(content).endswith("not used: train_acc, criterion")
    for name, tensor in (("7.weight", torch.ones(3)), ("4.scale", torch.tensor(2.0)), ("scale", torch.tensor(2.0))):
        # A layer of the file that the network lacks makes it another network.
        layer = {name: tensor, "4.shift": torch.ones(3)}
        with pytest.raises(ValueError, match="unexpected"):
            loaded({**STATE, **layer})


def test_a_list_of_states_is_a_choice_by_its_places() -> None:
    for content, keys in (({"state_dict": [other(), STATE]}, "state_dict.0, state_dict.1"), ([other(), STATE], "0, 1")):
        with pytest.raises(ValueError, match=rf"several weights \({keys}\): choose one with --weights-key, as"):
            loaded(content)
        assert equal(loaded(content, keys.split(", ")[1]))


@pytest.mark.parametrize("key", ["state_dict_ema", "ema_state_dict", "model_ema", "ema", "swa_model", "ema_model"])
def test_an_average_beside_the_network_is_never_taken_or_passed_over_silently(key: str) -> None:
    content = {"state_dict": other(), key: STATE}
    with pytest.raises(ValueError, match=rf"several weights \(state_dict, {key}\)"):
        loaded(content)
    assert equal(loaded(content, key))
    assert said(content, key) == (
        f"weights: {key} of w.pt, 9 entries, an average of networks; state_dict would fit too, see --weights-key"
    )
    assert said(content, "state_dict") == (
        f"weights: state_dict of w.pt, 9 entries; {key} would fit too, see --weights-key"
    )


def test_an_average_of_torch_is_told_by_its_counter() -> None:
    averaged = torch.optim.swa_utils.AveragedModel(network(1)).state_dict()
    assert said(averaged) == "weights: module of w.pt, 9 entries, an average of networks"
    flat = {**{f"net.{name}": t for name, t in other().items()}, **{f"mean_net.{n}": t for n, t in averaged.items()}}
    with pytest.raises(ValueError, match=r"several weights \(net, mean_net.module\)"):
        loaded(flat)
    assert equal(loaded(flat, "mean_net"))
    assert "an average of networks" in said(flat, "mean_net") and "an average" not in said(flat, "net")


def test_a_key_is_a_path_of_mappings_a_prefix_of_names_or_both() -> None:
    states = {**prefixed("model.net."), **{f"teacher.net.{name}": t for name, t in other().items()}}
    for content, before in ((states, ""), ({"state_dict": states}, "state_dict."), ({"a": {"b": states}}, "a.b.")):
        for key in ("model.net", "model"):
            assert equal(loaded(content, before + key))
        assert not equal(loaded(content, before + "teacher"))
        with pytest.raises(
            ValueError, match=rf"no weights under 'model.ne'; there are: {before}model.net, {before}tea"
        ):
            loaded(content, "model.ne")
    # The top level has a key too, where others lie below it.
    mixed = {**STATE, "ema": other()}
    with pytest.raises(ValueError, match=r"several weights \(\., ema\)"):
        loaded(mixed)
    assert equal(loaded(mixed, ".")) and not equal(loaded(mixed, "ema"))
    # A network that lies right at the key goes before one below it.
    assert equal(loaded({"model": mixed}, "model"))


def test_the_same_weights_under_two_names_are_no_choice() -> None:
    copies = {name: tensor.clone() for name, tensor in STATE.items()}
    assert equal(loaded({"model": STATE, "best": copies}))


def test_names_that_meet_without_wrappers_stay_apart() -> None:
    content = {**prefixed("net.module."), **{f"net.{name}": t for name, t in other().items()}}
    with pytest.raises(ValueError, match=r"several weights \(net, net.module\)"):
        loaded(content)
    assert equal(loaded(content, "net.module"))


class Blocks(nn.Module):
    """As a ResNet: names in its blocks are names of its own."""

    def __init__(self, blocks: int, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.bn = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.layer = nn.Sequential(
            *(nn.ModuleDict({"conv": nn.Conv2d(4, 4, 3), "bn": nn.BatchNorm2d(4)}) for _ in range(blocks))
        )
        self.fc = nn.Linear(4, 2)


@pytest.mark.parametrize("prefix", ["", "model.", "module."])
def test_the_weights_of_a_deeper_network_are_not_taken_for_a_shallow_one(prefix: str) -> None:
    deep = {f"{prefix}{name}": tensor for name, tensor in Blocks(3).state_dict().items()}
    for blocks, problem in ((1, "14 unexpected"), (2, "7 unexpected"), (4, "7 missing|6 missing")):
        with pytest.raises(ValueError, match=problem):
            loaded(deep, into=Blocks(blocks))
    loaded(
        {**deep, **{f"ema.{name}": t for name, t in Blocks(3, 1).state_dict().items()}}, prefix[:-1] or ".", Blocks(3)
    )
    with pytest.raises(ValueError, match="several weights"):
        loaded({**deep, **{f"ema.{name}": t for name, t in Blocks(3, 1).state_dict().items()}}, into=Blocks(3))


def test_another_shape_under_the_right_prefix_is_said_of_that_prefix() -> None:
    content = {"epoch": 3, "state_dict": {**prefixed("model."), "model.3.weight": torch.zeros(10, 7), **METRIC}}
    with pytest.raises(ValueError, match=r"under state_dict.model, does not fit .* 1 of another shape \(3.weight"):
        loaded(content)


def test_control_characters_of_a_file_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in said({"state_dict": STATE, "\x1b[2J": 3, "a\x1b": other(3) | {"x": torch.ones(2)}})


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:.*quantiz.*")
@pytest.mark.parametrize(
    "make, kind",
    [
        (lambda t: t.to_sparse(), "sparse"),
        (lambda t: t.to_sparse_csr(), "sparse"),
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "quantized"),
        (lambda t: t.to("meta"), "without data"),
        (lambda t: t + 1j, "complex"),
        (lambda t: (100 * t).to(torch.int8), "of whole numbers, torch.int8"),
        (lambda t: t > 0, "of whole numbers, torch.bool"),
    ],
)
def test_values_that_a_network_cannot_take_are_refused_by_name(
    make: Callable[[torch.Tensor], torch.Tensor], kind: str
) -> None:
    content = {**STATE, "3.weight": make(STATE["3.weight"])}
    with pytest.raises(ValueError, match=rf"1 are no numbers for this network \(3.weight is {kind}\)") as refused:
        loaded(content)
    assert "\n" not in str(refused.value)
    loaded({"good": STATE, "odd": content})
