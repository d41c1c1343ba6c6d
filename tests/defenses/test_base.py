import torch

from advdpnp.defenses import AT, Batch
from advdpnp.losses import cross_entropy

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(16, 7, dtype=torch.float64, generator=GENERATOR)
LABELS = torch.randint(7, (16,), generator=GENERATOR)


def batch(label_smoothing: float) -> Batch:
    return Batch(torch.zeros(16, 1, 8, 8), LABELS, torch.arange(16), 0, 0, 0, label_smoothing)


def test_smoothed_cross_entropy_and_its_gradient_are_the_definitions() -> None:
    # (1 - s) CE + s/C sum_k -log p_k, whose gradient is p - t with t = (1 - s) onehot + s/C.
    logits = LOGITS.clone().requires_grad_(True)
    p = torch.exp(LOGITS) / torch.exp(LOGITS).sum(dim=1, keepdim=True)
    own = p[torch.arange(16), LABELS]
    found = batch(0.1).cross_entropy(logits)
    torch.testing.assert_close(found, 0.9 * -own.log() + 0.1 / 7 * -p.log().sum(dim=1), rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    target = torch.full((16, 7), 0.1 / 7, dtype=torch.float64)
    target[torch.arange(16), LABELS] += 0.9
    torch.testing.assert_close(gradient, p - target, rtol=1e-9, atol=1e-12)


def test_without_smoothing_it_is_the_plain_cross_entropy_bit_for_bit() -> None:
    for logits in (LOGITS, LOGITS.float(), LOGITS.bfloat16()):
        assert torch.equal(batch(0.0).cross_entropy(logits), cross_entropy(logits, LABELS))
    assert batch(0.1).cross_entropy(LOGITS.bfloat16()).dtype == torch.float32


def test_attacks_do_not_smooth() -> None:
    from advdpnp.experiments import experiment

    model = experiment("digits/tiny/at").build().eval()
    images = []
    for smoothing in (0.0, 0.3):
        given = batch(smoothing)

        def ascend(forward, loss, x, reference, per_step=()):  # type: ignore[no-untyped-def]
            return loss(forward(x), reference, ())

        images.append(AT().perturb(model, given, ascend))
    assert torch.equal(*images)
