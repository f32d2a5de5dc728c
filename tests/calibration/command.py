"""Run the calibrate command on the fake model: python -m tests.calibration.command SECONDS ARGUMENTS...

Every row of the journal takes SECONDS longer, so that there is time to kill the process.
"""

import os
import sys
import time

from jaxsr.calibration.journal import Journal
from jaxsr.cli import calibrate
from tests.calibration.fake import install, quick

if __name__ == "__main__":
    os.environ["JAXSR_CACHE"] = "off"
    pause, append = float(sys.argv[1]), Journal.append

    def slow(*args) -> None:
        append(*args)
        time.sleep(pause)

    Journal.append = slow
    install()
    quick()
    sys.exit(calibrate.main(sys.argv[2:]))
