"""One CPU thread in tests: enough for small tensors, and results do not depend on the machine's cores."""

import torch

torch.set_num_threads(1)
