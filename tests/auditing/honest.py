"""Honest networks: their robust accuracy may be high, low or 0, and is what an attack finds."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from advdpnp.external import Normalized
from advdpnp.threat import Ball
from auditing.bases import base as trained
from auditing.zoo import After, Around, Before, honest


def _as_trained(name: str, says: str, of: str, eps: float = 0.1, norm: Ball = "linf") -> None:
    def build(base: nn.Module) -> nn.Module:
        return base

    build.__name__, build.__doc__ = name, says
    honest(of=of, eps=eps, norm=norm)(build)


for _name, _says, _of in (
    ("adversarially_trained", "Adversarial training.", "at"),
    ("adversarially_trained_cnn", "Adversarial training of a network without BatchNorm.", "cnn"),
    ("undefended", "Standard training: 0 % robust at a larger radius is no masking.", "standard"),
    ("undefended_cnn", "Standard training of a network without BatchNorm.", "standard-cnn"),
    ("trades", "TRADES.", "trades"),
    ("adv_dpnp", "Adv-DPNP.", "adv-dpnp"),
    ("cosine_scale_10", "AT_HE: the head is 10 times a cosine.", "cosine"),
    ("gelu", "Adversarial training with GELU.", "gelu"),
    ("swish", "Adversarial training with Swish.", "swish"),
    ("perceptron", "Adversarial training of a perceptron.", "mlp"),
    ("noisy_labels", "Adversarial training with a fifth of the labels wrong.", "noisy-labels"),
    ("deep_and_narrow", "Adversarial training of eight layers of 24 units.", "deep-narrow"),
    ("only_pooled", "Reads the averages of 2x2 pixels.", "only-pooled"),
    ("linear", "A linear model, adversarially trained.", "linear"),
    ("lipschitz", "1-Lipschitz in l2 by orthogonal matrices and sorted pairs, times 4.", "lipschitz"),
):
    _as_trained(_name, _says, _of)

for _name, _says, _of in (
    ("trained_in_l2", "Adversarial training in l2, audited in linf.", "l2"),
    ("max_pooling", "Adversarial training with BatchNorm and max-pooling.", "maxpool"),
    ("tanh", "Adversarial training with tanh: bounded features.", "tanh"),
):
    _as_trained(_name, _says, _of)

# Other radii and the other norm: where little stands, or nothing falls.
for _name, _says, _of, _eps in (
    ("cosine_at_twice_its_radius", "AT_HE at twice the radius of its training.", "cosine", 0.2),
    ("trades_at_twice_its_radius", "TRADES at twice the radius of its training.", "trades", 0.2),
    ("undefended_where_few_stand", "Standard training at a radius that leaves a tenth.", "standard", 0.15),
    ("undefended_where_none_stands", "Standard training at a radius that leaves none.", "standard", 0.3),
    ("lipschitz_where_few_stand", "1-Lipschitz at a larger radius.", "lipschitz", 0.15),
    ("next_to_nothing", "Adversarial training at a radius of one of 255 levels.", "at", 1 / 255),
):
    _as_trained(_name, _says, _of, _eps)
for _name, _says, _of in (
    ("trained_in_l2_audited_there", "Adversarial training in l2, audited in l2.", "l2"),
    ("adversarially_trained_audited_in_l2", "Adversarial training in linf, audited in l2.", "at"),
    ("undefended_audited_in_l2", "Standard training, audited in l2.", "standard-cnn"),
    ("lipschitz_audited_in_l2", "1-Lipschitz in l2, audited there.", "lipschitz"),
    ("linear_audited_in_l2", "A linear model, audited in l2.", "linear"),
):
    _as_trained(_name, _says, _of, 0.8, "l2")


class InFloat64(nn.Module):
    """The network computes in float64, and answers in it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.double()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x.double())
        return logits


@honest(of="at")
def answers_in_float64(base: nn.Module) -> nn.Module:
    """Computes in float64, and returns it."""
    return InFloat64(base)


@honest(of="standard")
def float32_alone(base: nn.Module) -> nn.Module:
    """Casts its input to float32, so that no copy computes in float64."""
    return Before(lambda x: x.float(), base)


@honest(of="cosine")
def float32_alone_cosine(base: nn.Module) -> nn.Module:
    """The same, of a cosine head."""
    return Before(lambda x: x.float(), base)


@honest(of="cnn")
def computes_in_float16(base: nn.Module) -> nn.Module:
    """Logits rounded to float16."""
    return After(base, lambda z: z.half().float())


@honest(of="at")
def hundred_classes(base: nn.Module) -> nn.Module:
    """A hundred classes, most of which no image has."""
    more = 0.5 * torch.randn(64, 90, generator=torch.Generator().manual_seed(0))
    return Around(base, lambda model, x: torch.cat([model(x), x.flatten(1) @ more.to(x.dtype) - 6], dim=1))


@honest(of="at")
def mean_probability_of_two(base: nn.Module) -> nn.Module:
    """The logarithm of the mean of two networks' probabilities."""
    other = trained("cnn")

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        both = torch.stack([model(x).log_softmax(dim=1), other(x).log_softmax(dim=1)])
        return both.logsumexp(dim=0)

    return Around(base, answer)


@honest(of="standard")
def undefended_beside_a_robust_one(base: nn.Module) -> nn.Module:
    """The mean of the logits of an undefended network and of a robust one."""
    other = trained("trades")
    return Around(base, lambda model, x: (model(x) + other(x)) / 2)


@honest(of="at")
def temperature_of_a_tenth(base: nn.Module) -> nn.Module:
    """Logits at temperature 0.1."""
    return After(base, lambda z: z / 0.1)


@honest(of="at")
def sees_few_of_the_pixels(base: nn.Module) -> nn.Module:
    """Pixels beyond the middle six columns are constant: half right, and no gradient there."""
    mask = torch.tensor([0.0, 1, 1, 1, 1, 1, 1, 0])
    return Before(lambda x: x * mask.to(x.dtype), base)


@honest(of="cnn")
def shifted_logits(base: nn.Module) -> nn.Module:
    """Logits minus the largest one, as some code does for numerical safety."""
    return After(base, lambda z: z - z.amax(dim=1, keepdim=True))


@honest(of="standard")
def normalized_inside(base: nn.Module) -> nn.Module:
    """The first thing it does is to normalize, and its layers undo that."""
    return Normalized(Before(lambda x: 0.37 * x + 0.3, base), [0.3], [0.37]).eval()


@honest(of="at")
def log_softmax(base: nn.Module) -> nn.Module:
    """Logarithms of probabilities."""
    return After(base, lambda z: z.log_softmax(dim=1))


@honest(of="at")
def logits_x3(base: nn.Module) -> nn.Module:
    """Logits times 3, as of a network that was trained longer."""
    return After(base, lambda z: 3 * z)


@honest(of="cnn")
def logits_x10_cnn(base: nn.Module) -> nn.Module:
    """Logits times 10: the cross-entropy is flat at a fifth of the images, and PGD's random start leaves that."""
    return After(base, lambda z: 10 * z)


@honest(of="adv-dpnp")
def logits_x10_adv_dpnp(base: nn.Module) -> nn.Module:
    """Logits times 10 of Adv-DPNP: the cross-entropy is flat at nearly half of the images, and PGD finds as much."""
    return After(base, lambda z: 10 * z)


@honest(of="at")
def computes_in_bfloat16(base: nn.Module) -> nn.Module:
    """Logits rounded to bfloat16, as those of a network in low precision."""
    return After(base, lambda z: z.bfloat16().float())


@honest("no sign of masking", "suspicious", of="at")
def logits_over_10(base: nn.Module) -> nn.Module:
    """Logits at temperature 10, where the cross-entropy spreads over all rivals and is a slightly weaker guide."""
    return After(base, lambda z: z / 10)


@honest(of="cosine")
def cosine_scale_30(base: nn.Module) -> nn.Module:
    """A cosine head at scale 30."""
    return After(base, lambda z: 3 * z)


@honest(of="at")
def logits_plus_100(base: nn.Module) -> nn.Module:
    """All logits are moved by the same 100."""
    return After(base, lambda z: z + 100)


@honest(of="at")
def dead_units(base: nn.Module) -> nn.Module:
    """A third of the last layer's units is never active."""
    with torch.no_grad():
        for module in base.modules():
            if isinstance(module, nn.Linear) and module.out_features == 64:
                module.bias[::3] = -100
    return base


@honest(of="at")
def dropout_in_eval_mode(base: nn.Module) -> nn.Module:
    """Has dropout, and is in eval mode."""
    return Before(nn.Dropout(0.5), base)


@honest(of="at")
def class_never_predicted(base: nn.Module) -> nn.Module:
    """Never answers class 8."""
    offset = torch.zeros(10)
    offset[8] = -30
    return After(base, lambda z: z + offset)


@honest(of="standard")
def blurred(base: nn.Module) -> nn.Module:
    """Blurs the image a little first, which has a gradient."""
    return Before(lambda x: 0.7 * x + 0.3 * functional.avg_pool2d(x, 3, stride=1, padding=1), base)


@honest(of="at")
def mean_of_two(base: nn.Module) -> nn.Module:
    """The mean of two networks' logits."""
    other = trained("cnn")
    return Around(base, lambda model, x: (model(x) + other(x)) / 2)


@honest(of="at")
def bounded_logits(base: nn.Module) -> nn.Module:
    """Logits softly bounded to 15 by tanh, as in some language models."""
    return After(base, lambda z: 15 * torch.tanh(z / 15))


@honest(of="binary")
def one_logit(base: nn.Module) -> nn.Module:
    """Odd or even digits, by one output."""
    return Around(base, lambda model, x: model(x).diff(dim=1))


@honest(of="binary")
def two_classes(base: nn.Module) -> nn.Module:
    """Odd or even digits, by two logits."""
    return base


@honest(of="cnn")
def nearest_center(base: nn.Module) -> nn.Module:
    """Minus the squared distances to the rows of the head, which a prototype classifier answers with."""

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        f, rows = model.backbone(x), model.head.linear.weight
        bias = model.head.linear.bias + 0.5 * rows.square().sum(dim=1)
        return -0.5 * (f[:, None] - rows).square().sum(dim=2) + bias

    return Around(base, answer)


# In l2 PGD and APGD leave 17 of 64 images, and FAB 10: that number is masked, and the audit says which one.
@honest("no sign of masking", "suspicious", of="mnist", eps=0.3)
def mnist_adversarially_trained(base: nn.Module) -> nn.Module:
    """Adversarial training on MNIST."""
    return base
