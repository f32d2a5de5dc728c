"""Score results against originals: python -m jaxsr.evaluate --pred OUT --target HR -o result.json

This module only starts the command, whose code is `jaxsr.cli.evaluate`.
"""

import sys

from jaxsr.cli.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
