"""Bits per byte and the statistics around it: pure functions over plain records."""
