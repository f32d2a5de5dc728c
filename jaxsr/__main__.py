"""Run the command `jaxsr` where its script is not on the path: python -m jaxsr sample photo.jpg -o out.png

This module only starts the command, whose code is `jaxsr.cli.commands`.
"""

from jaxsr.cli.commands import console

if __name__ == "__main__":
    console()
