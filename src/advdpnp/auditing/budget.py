"""How long an audit takes, at most."""

import time

from advdpnp.auditing.subject import Subject
from advdpnp.losses import margin

# Input gradients for each right image that no attack breaks, a forward counted as 0.4 of one: white box 490, FAB 170,
# Square 450, smoothed and estimated gradients 420, larger eps 180, the other norm 550, and what is little.
GRADIENTS_PER_IMAGE = 2300


def forecast(subject: Subject) -> float:
    """Seconds that the attacks take if every right image stands; from the time of one batch of gradients."""
    x, y = subject.x[:100], subject.y[:100]
    # The first one also makes what is made once.
    subject.gradient(x, y, margin)
    began = time.perf_counter()
    subject.gradient(x, y, margin)
    return (time.perf_counter() - began) / len(x) * int(subject.right.sum()) * GRADIENTS_PER_IMAGE
