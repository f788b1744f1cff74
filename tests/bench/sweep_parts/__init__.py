"""The parts of `make bench-sweep`; each gives plain figures and a table of them."""
