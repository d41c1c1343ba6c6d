import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advdpnp.data.corruptions import CORRUPTIONS, parse_corruption


def test_there_are_the_nineteen_corruptions_of_the_published_archive() -> None:
    benchmark, extra = CORRUPTIONS[:15], set(CORRUPTIONS[15:])
    assert len(set(CORRUPTIONS)) == 19 and len(benchmark) == 15
    assert extra == {"gaussian_blur", "saturate", "spatter", "speckle_noise"}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_name_is_read_back_into_its_parts(corruption: str) -> None:
    assert parse_corruption(f"cifar10-c/{corruption}") == (corruption, None)
    assert [parse_corruption(f"cifar10-c/{corruption}/{s}") for s in (1, 5)] == [(corruption, 1), (corruption, 5)]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cifar10-c", "as in cifar10-c/fog/3"),
        ("cifar10-c/fog/3/4", "as in cifar10-c/fog/3"),
        ("cifar10-c/", "unknown corruption ''"),
        ("cifar10-c/foq", "nearest: fog"),
        ("cifar10-c/../../etc", "as in cifar10-c/fog/3"),
        ("cifar10-c/../passwd", "unknown corruption '..'"),
        ("cifar10-c/fog/0", "one of 1, 2, 3, 4, 5; got '0'"),
        ("cifar10-c/fog/6", "got '6'"),
        ("cifar10-c/fog/", "got ''"),
        ("cifar10-c/fog/03", "got '03'"),
        ("cifar10-c/fog/³", "got '³'"),
    ],
)
def test_a_name_that_is_none_is_answered_with_the_nearest(name: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_corruption(name)
    assert says in str(caught.value)


@given(st.text(max_size=20), st.text(max_size=5))
def test_whatever_is_accepted_is_a_known_corruption(corruption: str, severity: str) -> None:
    try:
        found, number = parse_corruption(f"cifar10-c/{corruption}/{severity}")
    except ValueError:
        return
    assert found in CORRUPTIONS and number in range(1, 6) and np.isscalar(number)
