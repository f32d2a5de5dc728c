"""Calibrate guidance on pairs of images: python -m jaxsr.calibrate --pairs HR_DIR -o calib.json

This module only starts the command, whose code is `jaxsr.cli.calibrate`.
"""

from jaxsr.cli.calibrate import main
from jaxsr.cli.exits import end

if __name__ == "__main__":
    end(main())
