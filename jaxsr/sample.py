"""Enlarge photographs: python -m jaxsr.sample -i photo.jpg -o out/

This module only starts the command, whose code is `jaxsr.cli.sample`.
"""

from jaxsr.cli.exits import end
from jaxsr.cli.sample import main

if __name__ == "__main__":
    end(main())
