import pytest
import torch
from scipy import stats

from advdpnp import noise
from advdpnp.noise import AheadNoise, IndexNoise


def test_splitmix64_gives_the_published_sequence() -> None:
    # First outputs of SplitMix64 seeded with 1234567 (Vigna's reference program).
    golden, state, words = 0x9E3779B97F4A7C15, 1234567, []
    for _ in range(3):
        words.append(noise.splitmix64(state))
        state = (state + golden) % 2**64
    assert words == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_tensor_words_equal_the_integer_function() -> None:
    golden = 0x9E3779B97F4A7C15
    key = noise._key(7, "stream", 3)
    assert isinstance(key, int)
    words = noise.bits(7, "stream", 3, torch.tensor([0, 5, 2**40]), (4,))
    for row, index in enumerate([0, 5, 2**40]):
        image = noise.splitmix64((key + index * golden) % 2**64)
        expected = [noise.splitmix64((image + i * golden) % 2**64) for i in range(4)]
        assert [word % 2**64 for word in words[row].tolist()] == expected


def test_a_step_in_a_tensor_gives_the_same_words() -> None:
    index = torch.arange(5)
    for step in (0, 3, -1, 2**62):
        in_tensor = noise.bits(7, "stream", torch.tensor(step), index, (4,))
        assert torch.equal(in_tensor, noise.bits(7, "stream", step, index, (4,)))


def test_few_words_are_those_of_many() -> None:
    # Few numbers are drawn in another way than many.
    index, steps = torch.tensor([5, 2**40, 0, 5]), torch.tensor([3, -1, 2**62, 4])
    for step in (3, -1, steps, steps[0]):
        few, many = noise.bits(7, "s", step, index, (5,)), noise.bits(7, "s", step, index, (5000,))
        assert few.dtype == torch.int64 and torch.equal(few, many[:, :5])
        assert noise.bits(7, "s", step, index).shape == (4,)


def test_a_draw_does_not_depend_on_the_batch_that_an_image_is_in() -> None:
    whole = noise.uniform(0, "s", 1, torch.arange(100), (3, 4))
    part = noise.uniform(0, "s", 1, torch.tensor([93, 2, 41]), (3, 4))
    assert torch.equal(part, whole[[93, 2, 41]])


@pytest.mark.parametrize("other", [(1, "s", 0), (0, "t", 0), (0, "s", 1)])
def test_seed_stream_and_step_each_give_independent_draws(other: tuple[int, str, int]) -> None:
    index = torch.arange(20_000)
    a, b = noise.uniform(0, "s", 0, index), noise.uniform(*other, index)
    assert not torch.equal(a, b)
    assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1].item()) < 0.03


def test_uniforms_are_uniform_across_images_and_within_one() -> None:
    across = noise.uniform(0, "s", 0, torch.arange(50_000))
    within = noise.uniform(0, "s", 0, torch.tensor([5]), (50_000,))[0]
    for sample in (across, within):
        assert stats.kstest(sample.numpy(), "uniform").pvalue > 1e-3
        assert sample.min() >= 0 and sample.max() < 1


def test_normals_are_standard_normal() -> None:
    sample = noise.normal(0, "s", 0, torch.arange(200), (250,)).flatten()
    assert stats.kstest(sample.numpy(), "norm").pvalue > 1e-3
    assert sample.isfinite().all()


def test_permutations_are_permutations_and_change_with_the_step() -> None:
    orders = [noise.permutation(0, "order", step, 1000) for step in range(2)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(1000))
    assert not torch.equal(*orders)


def test_index_noise_is_the_module_function_with_its_fields() -> None:
    index = torch.tensor([4, 9])
    source = IndexNoise(seed=3, index=index, step=2)
    assert torch.equal(source.uniform("a", (5,)), noise.uniform(3, "a", 2, index, (5,)))
    assert torch.equal(source.normal("a", (5,)), noise.normal(3, "a", 2, index, (5,)))


def test_what_is_drawn_ahead_is_what_is_drawn_at_each_step() -> None:
    index, step = torch.tensor([4, 9, 4]), torch.tensor([0, 50, 7])
    plain, ahead = IndexNoise(1, index), AheadNoise(1, index)
    for walk in (1, 1, 1, 3000, 1, -2, 0):
        step = step + walk * torch.tensor([1, 1, 0])
        for stream, shape in (("a", (3,)), ("b", ()), ("wide", (4000,))):
            expected = plain.at(step).uniform(stream, shape)
            assert torch.equal(ahead.at(step).uniform(stream, shape), expected)
    rows = torch.tensor([2, 1])
    assert torch.equal(ahead.rows(rows).uniform("a", (3,)), plain.rows(rows).uniform("a", (3,)))
    assert torch.equal(ahead.normal("a", (3,)), plain.normal("a", (3,)))
