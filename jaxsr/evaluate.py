"""Score results against originals: python -m jaxsr.evaluate --pred OUT --target HR -o result.json"""

import sys

from jaxsr.cli.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
