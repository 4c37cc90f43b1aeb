"""Read what a plugin's class declares, such as its settings and its recipe, without what it computes with.

torch alone takes seconds to import, timm more, and a module of a plugin imports them at its top. A setting
that is misspelt, or `bench show`, needs none of it. So of the module's source only those statements are run
that the declarations refer to, as they stand there: imports, constants, functions, the class without its
methods.

That is what the whole module would have declared only if it does nothing else at its top. Where it may (a
loop, a condition, a decorator of the class, a name that is bound twice), nothing is read in this way, and the
caller imports the module.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

DECLARED = {
    "methods": ("views", "recipe", "recipe_for", "uses_labels", "fixed_backbone", "passes_per_view"),
    "backbones": (),
    "datasets": ("about",),
    "evaluators": (),
}  # by kind; beside what every kind declares
BY_ALL = ("Config", "version", "reference")
API = "bench.api"
BASE = "DeclaredBase"  # the name of the class's base while its declarations are run
Statement = ast.stmt


def read_declarations(kind: str, target: str, base: str, declared_base: type) -> type[Any] | None:
    """Return a class with what a plugin declares, or none where its source does not tell.

    Args:
        kind: a key of `DECLARED`.
        target: `module:class`.
        base: the name of the class of `bench.api` that the plugin's has to extend.
        declared_base: what stands for it, with what a class declares that does not say otherwise.

    Raises:
        Exception: whatever the statements raise.
    """
    module, _, name = target.partition(":")
    spec = importlib.util.find_spec(module)
    source = getattr(spec and spec.loader, "get_source", lambda _: None)(module)
    if spec is None or source is None:
        return None
    tree = ast.parse(source)
    statements = _choose_statements(tree, name, base, (*BY_ALL, *DECLARED[kind]))
    if statements is None:
        return None
    made = ModuleType(f"declarations of {module}", ast.get_docstring(tree))
    made.__dict__.update({"__package__": spec.parent, "__file__": spec.origin, BASE: declared_base})
    sys.modules[made.__name__] = made  # where dataclasses and type hints look a class's module up
    code = ast.fix_missing_locations(ast.Module(statements, []))
    exec(compile(code, spec.origin or module, "exec", dont_inherit=True), made.__dict__)  # noqa: S102 - a plugin
    cls: type[Any] = made.__dict__[name]
    return cls


def _choose_statements(
    tree: ast.Module, name: str, base: str, declared: Collection[str]
) -> list[Statement] | None:
    """Return the statements of a module that the declarations of its class take, in their order."""
    bound = _bind(tree.body)
    chain = _list_chain(name, bound, base) if bound is not None else []
    needed = _trim(chain, declared) if chain else None
    if bound is None or needed is None:
        return None
    waiting = [word for statement in needed.values() for word in _names_in(statement)]
    while waiting:
        word = waiting.pop()
        if word in bound and word not in needed:
            needed[word] = _without_others(bound[word], word)
            waiting += _names_in(needed[word])
    futures = [s for s in tree.body if isinstance(s, ast.ImportFrom) and s.module == "__future__"]
    in_order = sorted(needed.values(), key=lambda statement: (statement.lineno, statement.col_offset))
    return [*futures, *dict.fromkeys(in_order)]


def _bind(body: Iterable[Statement]) -> dict[str, Statement] | None:
    """Return the statements by the names that they bind; none where a statement may do anything else."""
    bound: dict[str, Statement] = {}
    for statement in body:
        names = _names_bound_by(statement)
        if names is None or bound.keys() & names:
            return None
        bound |= dict.fromkeys(names, statement)
    return bound


def _names_bound_by(statement: Statement) -> list[str] | None:
    """Return what a statement binds; none of one that may do anything else."""
    match statement:
        case ast.Import(names) | ast.ImportFrom(names=names) if all(alias.name != "*" for alias in names):
            return [_name_of(alias) for alias in names]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets) if all(map(_is_plain, targets)):
            return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name), value=value):
            return [name] if value else []
        case ast.Expr(value=ast.Constant()) | ast.Pass():
            return []
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
            return []
    return None


def _is_plain(target: ast.expr) -> bool:
    """Tell whether a target of an assignment is a name, or several: `a.b` would change what is there."""
    return isinstance(target, ast.Name) or (
        isinstance(target, ast.Tuple) and all(map(_is_plain, target.elts))
    )


def _name_of(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _list_chain(name: str, bound: Mapping[str, Statement], base: str) -> list[ast.ClassDef]:
    """Return a class and those of the module that it extends, up to one that extends the base of its kind.

    There are none if it does not, or if anything else takes part in making one of them.
    """
    chain: list[ast.ClassDef] = []
    while True:
        match bound.get(name):
            case ast.ClassDef(decorator_list=[], keywords=[], bases=[ast.Name(id=above)]) as cls:
                chain.append(cls)
                name = above
            case ast.ImportFrom(module=module, names=names) if module == API:
                is_base = any(_name_of(alias) == name and alias.name == base for alias in names)
                return chain if is_base else []
            case _:
                return []


def _trim(chain: Sequence[ast.ClassDef], declared: Iterable[str]) -> dict[str, Statement] | None:
    """Return classes by name with what they declare and what that refers to; see `_bind` for none."""
    bound = [_bind(cls.body) for cls in chain]
    kept, waiting = set(), list(declared)
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept.add(name)
            for own in bound:
                if own is None:
                    return None
                if name in own:
                    waiting += _names_in(own[name], attributes=True)
    bases = [*(cls.name for cls in chain[1:]), BASE]
    return {cls.name: _keep(cls, kept, base) for cls, base in zip(chain, bases, strict=True)}


def _keep(cls: ast.ClassDef, names: Collection[str], base: str) -> ast.ClassDef:
    """Return a class with its docstring and what binds some names."""
    docs = [statement for statement in cls.body[:1] if isinstance(statement, ast.Expr)]
    binding = [s for s in cls.body if any(name in names for name in _names_bound_by(s) or ())]
    made = ast.ClassDef(cls.name, [ast.Name(base, ast.Load())], [], [*docs, *binding, ast.Pass()], [])
    return ast.copy_location(made, cls)


def _without_others(statement: Statement, name: str) -> Statement:
    """Return an import of one name alone; any other statement as it is."""
    if not isinstance(statement, (ast.Import, ast.ImportFrom)):
        return statement
    alias = next(alias for alias in statement.names if _name_of(alias) == name)
    made = (
        ast.Import([alias])
        if isinstance(statement, ast.Import)
        else ast.ImportFrom(statement.module, [alias], statement.level)
    )
    return ast.copy_location(made, alias)


def _names_in(node: ast.AST, *, attributes: bool = False) -> Iterator[str]:
    """Yield the names that a statement refers to, but for the annotations of functions, which are not run.

    Args:
        node: the statement.
        attributes: yield what follows a dot, too.
    """
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.Attribute) and attributes:
        yield node.attr
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns") or isinstance(node, ast.AnnAssign):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _names_in(child, attributes=attributes)
