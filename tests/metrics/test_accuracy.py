import base64
import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from advdpnp import result_files
from advdpnp.metrics import append, mcnemar, pack, unpack, wilson, worst_case


def verdicts(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, generator=torch.Generator().manual_seed(seed)) < 0.6


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (7, 10), (10, 10), (4918, 10_000)])
def test_wilson_solves_the_score_equation(successes: int, n: int) -> None:
    z = 1.959963984540054
    p = successes / n
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert wilson(successes, n) == pytest.approx((center - half, center + half), abs=1e-12)


def test_wilson_widens_with_the_confidence() -> None:
    low, high = wilson(60, 100)
    wider_low, wider_high = wilson(60, 100, confidence=0.99)
    assert wider_low < low < 0.6 < high < wider_high


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 1000])
def test_unpack_inverts_pack(n: int) -> None:
    assert torch.equal(unpack(pack(verdicts(n)), n), verdicts(n))


def test_pack_has_the_bit_order_of_numpy() -> None:
    expected = np.packbits(verdicts(1003).numpy()).tobytes()
    assert base64.b64decode(pack(verdicts(1003))) == expected


def test_ten_thousand_verdicts_take_under_1700_characters() -> None:
    text = pack(verdicts(10_000))
    assert len(text) == 1668
    assert torch.equal(unpack(text, 10_000), verdicts(10_000))


@pytest.mark.parametrize("n", [0, 1, 8, 23, 24, 25, 128, 1000])
@pytest.mark.parametrize("more", [0, 1, 7, 24, 128])
def test_append_gives_what_pack_gives_of_the_whole(n: int, more: int) -> None:
    whole = verdicts(n + more)
    assert append(pack(whole[:n]), n, whole[n:]) == pack(whole)


def test_unpack_refuses_the_verdicts_of_another_number_of_images() -> None:
    with pytest.raises(ValueError, match="verdicts of 17 images take 3 bytes; got 2"):
        unpack(pack(verdicts(16)), 17)


def test_worst_case_is_right_only_where_every_attack_failed() -> None:
    a = torch.tensor([True, True, False, False])
    b = torch.tensor([True, False, True, False])
    assert worst_case([a, b]).tolist() == [True, False, False, False]
    assert torch.equal(worst_case([a]), a)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 1), (3, 9), (9, 3), (5, 5), (0, 12)])
def test_mcnemar_is_the_two_sided_tail_of_a_fair_coin(only_a: int, only_b: int) -> None:
    a = torch.tensor([True] * only_a + [False] * only_b + [True] * 20 + [False] * 10)
    b = torch.tensor([False] * only_a + [True] * only_b + [True] * 20 + [False] * 10)
    n, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    assert mcnemar(a, b) == pytest.approx(min(1.0, 2 * tail), abs=1e-12)


def test_equal_verdicts_give_mcnemar_nothing_to_tell() -> None:
    assert mcnemar(verdicts(50), verdicts(50)) == 1.0


@pytest.mark.parametrize(("first", "second", "p"), [(0, 0, 1.0), (5, 0, 2 / 32), (1, 3, 2 * 5 / 16), (4, 4, 1.0)])
def test_the_paired_test_by_hand(first: int, second: int, p: float) -> None:
    assert result_files.paired_p(first, second) == p


def test_the_paired_test_of_many_images_is_that_of_scipy() -> None:
    assert result_files.paired_p(746, 348) == pytest.approx(float(binomtest(746, 1094).pvalue), rel=1e-9)
