"""Old names of arguments go on working, and say their new ones."""

import pytest

from advdpnp.deprecation import renamed


@renamed(listener="callback")
def called(x: int, *, callback: str = "") -> tuple[int, str]:
    return x, callback


def test_an_old_name_is_the_new_one_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="called: listener is called callback now"):
        assert called(1, listener="me") == (1, "me")
    assert called(1, callback="me") == (1, "me")


def test_both_names_are_refused() -> None:
    with pytest.raises(TypeError, match="give callback alone"):
        called(1, callback="me", listener="you")
