"""Wall time in pieces."""

import time


class Stopwatch:
    """Wall time between starts and stops, summed up."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def start(self) -> None:
        """Begin a piece."""
        self._began = time.perf_counter()

    def stop(self) -> float:
        """End the piece; seconds of all pieces so far."""
        self.seconds += time.perf_counter() - self._began
        return self.seconds
