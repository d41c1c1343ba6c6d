import os
import signal
from collections.abc import Iterator

import pytest

from advdpnp.signals import Terminated, deferred_interrupt, exit_status, raised_when_terminated

ENDING = [signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def usual_handlers() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_that_asks_to_end_is_an_interrupt_with_the_status_of_shells(number: int, status: int) -> None:
    with pytest.raises(Terminated) as ended, raised_when_terminated():
        os.kill(os.getpid(), number)
    assert exit_status(ended.value) == status
    assert signal.getsignal(number) is signal.SIG_DFL


def test_the_status_after_ctrl_c_is_130() -> None:
    assert exit_status(KeyboardInterrupt()) == 130


@pytest.mark.parametrize("number", ENDING)
def test_it_is_only_noted_at_first(number: int) -> None:
    with raised_when_terminated(), deferred_interrupt() as noted:
        os.kill(os.getpid(), number)
        interrupt = noted()
        assert isinstance(interrupt, Terminated) and interrupt.number == number
        with pytest.raises(Terminated):
            os.kill(os.getpid(), number)


def test_what_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with raised_when_terminated(), deferred_interrupt() as noted:
        os.kill(os.getpid(), signal.SIGHUP)
        assert noted() is None
