"""Signatures and values for the API reference as the source has them: `Latent`, not what the alias stands for.

The values that pdoc would print are long (an alias of jaxtyping, nested in a callable, is expanded) and not always
true of another machine (the repr of a function). Names of the house are made links, which show their last part.
"""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pdoc.render
import pdoc.render_helpers
from jinja2 import pass_context
from markupsafe import Markup
from pdoc.doc import Class, Doc, Function, Module, Variable

NAME = re.compile(r"""("[^"]*"|'[^']*')|(?<![\w.])([A-Za-z]\w*)(?!\s*=[^=]|\w)""")  # a string, or a name; no keyword
# What `typing.NamedTuple` writes itself.
EMPTY_WORDS = ("Alias for field number", "Create new instance of")


class Text(str):
    """Source text, which prints as it stands where the repr of a value is expected."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Source:
    """One file: its definitions by qualified name, and where the names in it come from."""

    def __init__(self, module: str, file: Path, packages: tuple[str, ...]):
        text = file.read_bytes()
        tree, self.lines = ast.parse(text), text.splitlines()
        self.nodes = dict(_definitions(tree.body, ""))
        self.homes = {name: f"{module}.{name}" for name in self.nodes if "." not in name}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in packages:
                self.homes |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        self.homes = {name: home for name, home in self.homes.items() if not name.startswith("_")}

    def show(self, node: ast.expr | None) -> Text | None:
        """The text of an expression on one line, with the names of the house in full."""
        if node is None:
            return None
        lines = self.lines[node.lineno - 1 : node.end_lineno]
        lines[-1] = lines[-1][: node.end_col_offset]  # in bytes; the end first, as both may be in one line
        lines[0] = lines[0][node.col_offset :]
        text = re.sub(r"(?<=[(\[{]) | ?,? (?=[)\]}])", "", " ".join(b" ".join(lines).decode().split()))
        return Text(NAME.sub(lambda match: match[1] or self.homes.get(match[2], match[2]), text))


def show_as_written(module: Module, sources: Mapping[str, Source]) -> None:
    """Give pdoc's documentation objects of a module the texts of the source; `sources` are those of all modules."""
    _rewrite(module.members.values(), sources)


def link_by_last_part() -> None:
    """Have pdoc show the last part of a linked name in signatures and values."""

    @pass_context
    def linkify(context, code: str, namespace: str = "", shorten: bool = True) -> Markup:
        linked = pdoc.render_helpers.linkify(context, code, namespace, shorten)
        return Markup(re.sub(r">(?:\w+\.)+(\w+)</a>", r">\1</a>", str(linked))) if shorten else linked

    pdoc.render.env.filters["linkify"] = linkify


def _definitions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.stmt]]:
    for node in body:
        match node:
            case ast.FunctionDef(name=name):
                yield prefix + name, node
            case ast.ClassDef(name=name):
                yield prefix + name, node
                yield from _definitions(node.body, f"{prefix}{name}.")
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                yield prefix + name, node


def _rewrite(docs: Iterable[Doc], sources: Mapping[str, Source]) -> None:
    for doc in docs:
        module, qualname = doc.taken_from
        if module not in sources and isinstance(doc, Variable):  # an alias says that it is of the module of `Callable`
            module, qualname = doc.modulename, doc.qualname
            if home := sources[module].homes.get(qualname):
                module, _, qualname = home.rpartition(".")
        source = sources.get(module)
        if doc.docstring.startswith(EMPTY_WORDS):
            doc.docstring = ""
        if isinstance(doc, Class):
            _rewrite(doc.members.values(), sources)
        elif source and isinstance(doc, Variable):
            _rewrite_variable(doc, source, source.nodes.get(qualname))
        elif source and isinstance(doc, Function):
            doc.signature = _signature(doc, source, qualname)


def _rewrite_variable(doc: Variable, source: Source, node: ast.stmt | None) -> None:
    match node:
        case ast.FunctionDef():  # a property
            doc.annotation = source.show(node.returns) or doc.annotation
        case ast.AnnAssign() | ast.Assign():
            doc.annotation = source.show(getattr(node, "annotation", None)) or doc.annotation
            doc.default_value = source.show(node.value) or doc.default_value


def _signature(doc: Function, source: Source, qualname: str) -> inspect.Signature:
    found, node = inspect.signature(doc.obj), source.nodes.get(qualname)
    if isinstance(node, ast.FunctionDef):
        given = node.args
        places = [*given.posonlyargs, *given.args]
        named = {one.arg: one.annotation for one in [*places, given.vararg, *given.kwonlyargs, given.kwarg] if one}
        defaults = dict(
            zip([one.arg for one in places][len(places) - len(given.defaults) :], given.defaults, strict=True)
        )
        defaults |= {one.arg: value for one, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value}
        returns = source.show(node.returns)
    else:  # made by dataclass or NamedTuple, of the fields of the class
        fields = {name: source.nodes.get(f"{qualname.rpartition('.')[0]}.{name}") for name in found.parameters}
        fields = {name: field for name, field in fields.items() if isinstance(field, ast.AnnAssign)}
        named = {name: field.annotation for name, field in fields.items()}
        defaults = {name: field.value for name, field in fields.items()}
        returns = None
    parameters = [
        one.replace(
            annotation=source.show(named.get(one.name)) or one.annotation,
            default=one.default if one.default is one.empty else source.show(defaults.get(one.name)) or one.default,
        )
        for one in found.parameters.values()
    ]
    return found.replace(parameters=parameters, return_annotation=returns or inspect.Signature.empty)
