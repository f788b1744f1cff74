"""The process that the `local` launcher starts: reads a job from standard input and runs it."""

import sys

from .local import run_here

if __name__ == "__main__":
    sys.exit(run_here(sys.stdin.buffer.read()))
