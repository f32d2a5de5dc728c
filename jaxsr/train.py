"""Train a model: python -m jaxsr.train --config configs/tiny_x4.py -o runs/mine

This module only starts the command, whose code is `jaxsr.cli.train`.
"""

from jaxsr.cli.exits import end
from jaxsr.cli.train import main

if __name__ == "__main__":
    end(main())
