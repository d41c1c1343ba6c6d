"""Who is told how an evaluation goes."""

from typing import Protocol


class Listener(Protocol):
    """Told before and while an evaluation runs."""

    def on_note(self, text: str) -> None:
        """Something that the reader of the numbers should know."""

    def on_forecast(self, seconds: float) -> None:
        """How long it will take, at most."""

    def on_attack(self, name: str, images: int) -> None:
        """An attack begins, with so many images before it."""

    def on_images(self, images: int) -> None:
        """So many more images are attacked."""

    def on_search(self, name: str, images: int, steps: int) -> None:
        """A search begins, on so many images that are still right, with at most so many iterations before it."""

    def on_steps(self, left: int, bound: float) -> None:
        """At most so many iterations are left; robust accuracy is at most `bound`, a fraction."""
