"""What docs/reliability.md is measured with: kills, damaged files, malformed values, a soak."""
