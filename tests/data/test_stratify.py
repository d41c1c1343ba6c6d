from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advdpnp.data import stratified


@st.composite
def labels_and_count(draw: st.DrawFn) -> tuple[list[int], int]:
    labels = draw(st.lists(st.integers(0, 6), min_size=1, max_size=60))
    return labels, draw(st.integers(0, len(labels)))


def largest_remainders(sizes: list[int], count: int) -> list[int]:
    """Slow reference in exact fractions: seats go one by one to the largest remainder, the lower class first."""
    shares = [Fraction(size * count, sum(sizes)) for size in sizes]
    seats = [int(share) for share in shares]
    for label in sorted(range(len(sizes)), key=lambda c: (seats[c] - shares[c], c))[: count - sum(seats)]:
        seats[label] += 1
    return seats


@given(labels_and_count())
def test_a_subset_has_each_position_once_and_the_quotas_of_largest_remainders(case: tuple[list[int], int]) -> None:
    values, count = case
    labels = torch.tensor(values)
    chosen = stratified(labels, count, "test")
    assert chosen.dtype == torch.int64
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == count
    sizes = torch.bincount(labels)
    quotas = torch.bincount(labels[chosen], minlength=len(sizes))
    assert quotas.tolist() == largest_remainders(sizes.tolist(), count)


def test_a_thousand_of_a_balanced_set_are_a_hundred_of_each_class() -> None:
    labels = torch.arange(50_000) % 10
    assert torch.bincount(labels[stratified(labels, 1000, "holdout")]).tolist() == [100] * 10


def test_a_subset_is_a_function_of_labels_count_and_stream() -> None:
    labels = torch.arange(600) % 3
    first = stratified(labels, 60, "holdout")
    torch.manual_seed(1)
    assert torch.equal(first, stratified(labels, 60, "holdout"))
    assert not torch.equal(first, stratified(labels, 60, "train-images"))
    # The same on every machine and in every release: a run that is resumed holds out the same images.
    assert first[:8].tolist() == [44, 46, 76, 87, 111, 123, 126, 133]


def test_every_member_of_a_class_is_chosen_equally_often() -> None:
    labels = torch.arange(40) % 2
    counts = torch.stack([torch.bincount(stratified(labels, 10, f"stream {k}"), minlength=40) for k in range(400)])
    # Binomial(400, 1/4): mean 100, standard deviation 8.7.
    assert (counts.sum(dim=0) - 100).abs().max() < 4.5 * 8.7


@pytest.mark.parametrize("count", [-1, 7])
def test_a_subset_larger_than_the_set_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"6 images needs a size in \[0, 6\]; got {count}"):
        stratified(torch.zeros(6, dtype=torch.int64), count, "test")
