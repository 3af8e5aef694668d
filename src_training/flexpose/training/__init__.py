"""Algorithms: one file each, driven by one loop."""
