"""`python -m pdejax`, the same as the command `pdejax`."""

import sys

from pdejax.cli import main

if __name__ == "__main__":
    sys.exit(main())
