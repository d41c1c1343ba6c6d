"""One CPU thread in tests: enough for small tensors, and results do not depend on the machine's cores."""

import os
from pathlib import Path

import hypothesis
import pytest
import torch

# More would be processes that import torch first, and beside the other tests there is no core for them.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

# A busy machine is no fault of the code.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real files."""
    root = os.environ.get("ADVDPNP_DATA")
    if not root:
        pytest.skip("needs the real CIFAR and MNIST files: set $ADVDPNP_DATA to their folder")
    return Path(root)
