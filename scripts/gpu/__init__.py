"""Runs on a machine that one has for a limited time, unattended; the command is scripts/gpu_slot.py."""
