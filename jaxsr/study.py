"""Study the few-step error of a model: python -m jaxsr.study -n tiny-x4 --pairs HR_DIR -o report/

This module only starts the command, whose code is `jaxsr.cli.study`.
"""

from jaxsr.cli.exits import end
from jaxsr.cli.study import main

if __name__ == "__main__":
    end(main())
