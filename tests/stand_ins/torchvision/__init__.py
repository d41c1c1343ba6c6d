"""A stand-in for torchvision, whose wheels do not import beside a torch for CPUs alone."""
