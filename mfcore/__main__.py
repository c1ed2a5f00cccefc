"""Lets ``python -m mfcore`` do what the command ``mfcore`` does."""

import sys

from mfcore.cli import main

if __name__ == "__main__":
    sys.exit(main())
