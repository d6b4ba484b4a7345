"""``python -m clusterfutures`` is the command ``clusterfutures``."""

import sys

from clusterfutures.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
