"""Calibrate guidance on pairs of images: python -m jaxsr.calibrate --pairs HR_DIR -o calib.json

This module only starts the command, whose code is `jaxsr.cli.calibrate`.
"""

import sys

from jaxsr.cli.calibrate import main

if __name__ == "__main__":
    sys.exit(main())
