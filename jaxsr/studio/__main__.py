"""Serve the page with the knob: python -m jaxsr.studio

This module only starts the command, whose code is `jaxsr.cli.studio`.
"""

from jaxsr.cli.exits import end
from jaxsr.cli.studio import main

if __name__ == "__main__":
    end(main())
