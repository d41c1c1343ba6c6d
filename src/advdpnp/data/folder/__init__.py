"""Folders of images by class: what lies in them, decoded once, split by seed."""
