"""Test the command `jaxsr`: its table of sub-commands, its help, and what it says about words that it does not know."""

import subprocess
import sys
from importlib import import_module

import pytest

from jaxsr.cli import commands, sample
from jaxsr.cli.parser import program
from jaxsr.version import __version__
from tests.cli.sampling import ROOT, start
from tests.test_house import ENTRIES


def test_every_entry_and_every_row_is_a_command_with_a_main():
    names = [one.name for one in commands.SUBCOMMANDS]
    assert len(set(names)) == len(names)
    assert {name for name in ENTRIES if name != "__main__"} <= set(names)
    for one in commands.SUBCOMMANDS:
        assert callable(import_module(one.module).main)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_the_help_has_one_line_for_each_command(words, capsys):
    assert commands.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    for one in commands.SUBCOMMANDS:
        assert f"  {one.name:15} {one.summary}" in lines


def test_without_a_word_the_help_goes_to_stderr(capsys):
    assert commands.main([]) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[0]) == ("", "usage: jaxsr COMMAND ...")


def test_the_version(capsys):
    assert commands.main(["--version"]) == 0
    assert capsys.readouterr().out == f"jaxsr {__version__}\n"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("smaple", "did you mean sample?"),
        ("eval", "did you mean evaluate?"),
        ("qqq", "there is no command 'qqq'."),
        (str(ROOT / "examples/parrots.png"), "parrots.png' is a file, not a command; did you mean jaxsr sample "),
    ],
)
def test_an_unknown_word_gets_advice_and_the_code_of_wrong_usage(word, said, capsys):
    assert commands.main([word]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ")
    assert said in err


OURS = [one.name for one in commands.SUBCOMMANDS if one.module.startswith("jaxsr.")]


@pytest.mark.parametrize("name", OURS)
def test_wrong_usage_is_one_line_that_names_the_command_as_it_was_started(name, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["/usr/bin/jaxsr", name])
    with pytest.raises(SystemExit) as stopped:
        commands.main([name, "--nonsense"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"jaxsr {name} --help lists the options" in error


def test_the_words_after_the_name_go_to_the_command(monkeypatch):
    got = []
    monkeypatch.setattr(sample, "main", lambda words: got.append(words) or 3)
    assert commands.main(["sample", "a.png", "--help"]) == 3
    assert got == [["a.png", "--help"]]
    convert = import_module("weight_conversion.__main__")
    monkeypatch.setattr(convert, "main", lambda words: got.append(words) or 0)
    assert commands.main(["convert", "a.pth", "-o", "x"]) == 0
    assert got[1] == ["convert", "a.pth", "-o", "x"]


@pytest.mark.parametrize("command", [one.name for one in commands.SUBCOMMANDS])
def test_every_command_has_a_help(command, capsys):
    for words in ([command, "--help"], ["help", command]):
        with pytest.raises(SystemExit) as stopped:
            commands.main(words)
        assert stopped.value.code == 0
        assert capsys.readouterr().out.startswith("usage: ")


def test_a_command_is_named_as_it_was_started(monkeypatch):
    for started, shown in {
        "/bin/jaxsr": "jaxsr sample",
        "C:/jaxsr.exe": "jaxsr sample",
        "/x/jaxsr/__main__.py": "python -m jaxsr sample",
        "/x/jaxsr/sample.py": "python -m jaxsr.sample",
    }.items():
        monkeypatch.setattr(sys, "argv", [started])
        assert program("sample") == shown


def test_the_help_is_quick():
    code = (
        "import sys; from jaxsr.cli.commands import main; main(['--help']); main(['smaple']);"
        "print(sorted({'jax', 'numpy', 'PIL', 'rich', 'argparse'} & set(sys.modules)))"
    )
    assert start(code, ROOT, ROOT).communicate()[0].splitlines()[-1] == "[]"


def test_the_script_and_the_module_are_the_same_command(tmp_path):
    script = "import sys; sys.argv[0] = 'jaxsr'; from jaxsr.cli.commands import console; console()"
    for words in (["-c", script], ["-m", "jaxsr"]):
        found = subprocess.run(
            [sys.executable, *words, "sample", "--seed", "x"], cwd=ROOT, capture_output=True, text=True
        )
        assert found.returncode == 2
        assert found.stderr.startswith("error: argument --seed: ")
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '\n[project.scripts]\njaxsr = "jaxsr.cli.commands:console"\n' in text
