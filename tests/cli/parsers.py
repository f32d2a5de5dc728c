"""The parsers of all commands."""

from collections.abc import Iterator

import pytest

from jaxsr.cli import (
    calibrate,
    compare,
    convert_lpips,
    doctor,
    evaluate_options,
    export,
    fit_niqe,
    replay,
    sample_options,
    studio,
    study,
    train,
)
from jaxsr.cli.evaluate_commands import COMMANDS
from jaxsr.cli.parser import Parser


class Caught(Exception):
    """Holds a parser that was about to parse."""


def all_parsers() -> Iterator[Parser]:
    """Yield every parser, with no option required."""
    modules = (
        sample_options,
        studio,
        calibrate,
        study,
        export,
        train,
        compare,
        doctor,
        replay,
        fit_niqe,
        convert_lpips,
    )
    found = [module.make_parser() for module in modules]
    found.append(evaluate_options.make_parser(None))
    with pytest.MonkeyPatch.context() as patch:

        def caught(parser: Parser, *_: object) -> None:
            raise Caught(parser)

        patch.setattr(Parser, "parse_args", caught)
        for command in COMMANDS.values():
            with pytest.raises(Caught) as one:
                command([])
            found.append(one.value.args[0])
    for parser in found:
        for action in parser._actions:
            action.required = False
        yield parser
