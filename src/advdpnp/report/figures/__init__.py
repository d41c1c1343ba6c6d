"""Figures of a report, drawn from what is stored: one file per figure."""
