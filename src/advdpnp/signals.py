"""Signals that ask a process to end, SIGTERM and SIGHUP as well as Ctrl-C, as exceptions."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# SIGHUP does not exist on Windows.
_ENDING = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]


class Terminated(KeyboardInterrupt):
    """A signal other than Ctrl-C asked the process to end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """128 and the number of the signal, as shells have it: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + int(interrupt.number if isinstance(interrupt, Terminated) else signal.SIGINT)


def _end(number: int, frame: FrameType | None) -> None:
    raise Terminated(number)


@contextmanager
def raised_when_terminated() -> Iterator[None]:
    """While it lasts, SIGTERM and SIGHUP raise `Terminated`; what is ignored, as by nohup, stays so.

    Outside the main thread, where Python handles no signals, nothing changes.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    ours = [number for number in _ENDING if in_main_thread and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], KeyboardInterrupt | None]]:
    """While it lasts, the first signal that asks to end is only noted; a second one of its kind interrupts at once.

    Yields:
        A function that gives the interrupt to raise, or None. Outside the main thread, where Python handles no
        signals, and where a program has a handler of its own, it always gives None and nothing changes.
    """
    noted: list[KeyboardInterrupt] = []
    handlers: dict[int, Callable[[int, FrameType | None], object]] = {}
    if threading.current_thread() is threading.main_thread():
        usual = {int(signal.SIGINT): signal.default_int_handler} | dict.fromkeys(map(int, _ENDING), _end)
        handlers = {number: handler for number, handler in usual.items() if signal.getsignal(number) is handler}

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(KeyboardInterrupt() if number == signal.SIGINT else Terminated(number))
        signal.signal(number, handlers[number])

    for number in handlers:
        signal.signal(number, note)
    try:
        yield lambda: noted[0] if noted else None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
