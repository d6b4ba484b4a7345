"""``python -m clusterfutures.cluf``."""

import sys

from clusterfutures.cluf.main import main

if __name__ == "__main__":
    sys.exit(main())
