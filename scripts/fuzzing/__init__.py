"""What `scripts/fuzz.py` is made of: mutations, seeds by the real writers, targets, and the process that runs them."""
