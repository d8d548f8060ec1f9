"""The other side of the wall: processes that run what a candidate brought along."""
