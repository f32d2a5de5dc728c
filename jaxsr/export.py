"""Write a model as a program that runs without jaxsr: python -m jaxsr.export -n photo-x4 -o photo-x4.stablehlo

This module only starts the command, whose code is `jaxsr.cli.export`.
"""

from jaxsr.cli.exits import end
from jaxsr.cli.export import main

if __name__ == "__main__":
    end(main())
