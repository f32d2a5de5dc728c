"""Score results against originals: python -m jaxsr.evaluate --pred OUT --target HR -o result.json

This module only starts the command, whose code is `jaxsr.cli.evaluate`.
"""

from jaxsr.cli.evaluate import main
from jaxsr.cli.exits import end

if __name__ == "__main__":
    end(main())
