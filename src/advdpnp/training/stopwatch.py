"""Wall time."""

import time


class Stopwatch:
    """Wall time between starts and stops, summed up."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._began = 0.0

    def start(self) -> None:
        self._began = time.perf_counter()

    def stop(self) -> float:
        """Seconds of all pieces so far."""
        self.seconds += time.perf_counter() - self._began
        return self.seconds
