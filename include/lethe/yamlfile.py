"""YAML files become models here: every error says file, line, what is wrong and the fix, and never repeats a value.

A value may be somebody's e-mail that was pasted in the wrong place, so only keys, line numbers and what is accepted are
printed. Keys are printed when they look like a name. Duplicate keys are refused: YAML would drop the first in silence.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from lethe.errors import InvalidFile

M = TypeVar("M", bound=BaseModel)
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, ten times as fast, where PyYAML has it
Location = tuple[str | int, ...]
_MOST_ERRORS = 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.$-]{0,62}")


@dataclass(frozen=True, kw_only=True)
class Document:
    """One YAML file: its plain value, and the line (from 1) of each place in it."""

    path: Path
    value: Any
    lines: Mapping[Location, int] = field(repr=False)

    def line(self, *location: str | int) -> int:
        """The line of `location`, or of the nearest place around it that is in the file."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)

    def error(self, problem: str, *location: str | int, fix: str = "") -> InvalidFile:
        """An InvalidFile that points at `location`."""
        return InvalidFile(f"{self.path}:{self.line(*location)}: {problem}", fix=fix)


def read(path: Path) -> Document:
    """The file as a Document. Raises InvalidFile when it is not there, no YAML, has a duplicate key or more than one document."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidFile(f"{path}: there is no such file.", fix="Create it, or point LETHE_POLICY_DIR at another folder.") from None
    except UnicodeDecodeError:
        raise InvalidFile(f"{path}: is not UTF-8 text.", fix="Save it as UTF-8.") from None
    except OSError as error:
        raise InvalidFile(f"{path}: cannot be read ({type(error).__name__}).", fix="Look at its permissions.") from None
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        lines: dict[Location, int] = {}
        value = None if node is None else _Reader(path, loader, lines).plain(node, (), ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise InvalidFile(
            f"{path}:{line}: is not YAML: {_without_values(error.problem)}.", fix="Look at the indentation and the quotes there."
        ) from None
    except yaml.YAMLError:
        raise InvalidFile(f"{path}: holds a character that YAML does not allow.", fix="Remove control characters.") from None
    finally:
        loader.dispose()
    return Document(path=path, value=value, lines=lines)


def load(model: type[M], path: Path) -> M:
    """The file as `model`; InvalidFile with every problem found (20 at most), each with line and fix."""
    return validate(model, read(path))


def validate(model: type[M], document: Document) -> M:
    """`document` as `model`; InvalidFile as in `load`."""
    if not isinstance(document.value, dict):
        raise document.error("the file must be a mapping of keys", fix=f"Begin with one of: {', '.join(_keys(model))}.")
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        problems = [_explain(model, document, e) for e in error.errors(include_url=False)]
    shown = problems[:_MOST_ERRORS]
    more = len(problems) - len(shown)
    text = "\n".join(f"{document.path}:{line}: {problem} {fix}".rstrip() for line, problem, fix in sorted(shown)[:-1])
    line, problem, fix = sorted(shown)[-1]
    last = f"{document.path}:{line}: {problem}" + (f" (and {more} more)" if more else "")
    raise InvalidFile(f"{text}\n{last}".lstrip(), fix=fix)


@dataclass(frozen=True)
class _Reader:
    path: Path
    loader: yaml.SafeLoader
    lines: dict[Location, int]

    def plain(self, node: yaml.Node, where: Location, inside: tuple[int, ...]) -> Any:
        """The plain value of `node`, recording the line of everything in it."""
        self.lines[where] = node.start_mark.line + 1
        if id(node) in inside:
            raise InvalidFile(f"{self.path}:{node.start_mark.line + 1}: an alias contains itself.", fix="Write the value out.")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where, (*inside, id(node)))
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(n, (*where, i), (*inside, id(node))) for i, n in enumerate(node.value)]
        try:
            return self.loader.construct_object(node)
        except ValueError:
            raise InvalidFile(
                f"{self.path}:{node.start_mark.line + 1}: {_at(where)} is not a value YAML knows (a day that does not exist?)."
            ) from None

    def _mapping(self, node: yaml.MappingNode, where: Location, inside: tuple[int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag.endswith(":merge"):
                raise InvalidFile(f"{self.path}:{line}: a key must be a plain word.", fix="Write `key: value`.")
            key = key_node.value
            if key in found:
                first = self.lines[(*where, key)]
                raise InvalidFile(
                    f"{self.path}:{line}: the key {_name(key)} is there twice (first in line {first}).", fix="Keep one of the two."
                )
            found[key] = self.plain(value_node, (*where, key), inside)
            self.lines[(*where, key)] = line
        return found


def _explain(model: type[BaseModel], document: Document, error: Any) -> tuple[int, str, str]:
    """(line, problem, fix) of one pydantic error, without its input."""
    where: Location = tuple(error["loc"])
    kind, context = error["type"], error.get("ctx", {})
    line = document.line(*where)
    match kind:
        case "extra_forbidden":
            parent = _model_at(model, where[:-1])
            return line, f"unknown key {_name(where[-1])}{_inside(where[:-1])}.", suggest(str(where[-1]), _keys(parent) if parent else ())
        case "missing":
            return line, f"`{where[-1]}` is missing{_inside(where[:-1])}.", f"Add `{where[-1]}:`."
        case "literal_error" | "enum":
            return (
                line,
                f"{_at(where)} is none of the accepted words.",
                f"Write one of: {context.get('expected', '')} (in quotes when it is null, true or false).",
            )
        case "string_pattern_mismatch":
            return line, f"{_at(where)} does not have the accepted form.", f"It must match {context.get('pattern', '')}"
        case "value_error":
            said, _, fix = _without(str(context.get("error", "")), error.get("input")).partition(": ")
            return line, f"{_at(where)}: {said}." if fix else f"{_at(where)}: {said}", f"{fix[:1].upper()}{fix[1:]}." if fix else ""
        case _:
            return line, f"{_at(where)}: {_without(error['msg'], error.get('input'))}.", ""


def suggest(name: str, known: typing.Iterable[str]) -> str:
    """`Did you mean ...?` when something near is known, else what is known."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1)
    if near:
        return f"Did you mean `{near[0]}`?"
    return f"Known: {', '.join(choices)}." if choices else ""


def _model_at(annotation: Any, where: Location) -> type[BaseModel] | None:
    """The model that sits at `where` below `annotation`, through tuples, dicts and optionals."""
    while where or not _is_model(annotation):
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            annotation = args[0]
        elif origin in (typing.Union, types.UnionType):
            annotation = next((a for a in args if a is not type(None)), None)
        elif _is_model(annotation):
            fields = annotation.model_fields
            found = fields.get(where[0]) or next((f for f in fields.values() if f.alias == where[0]), None)
            if found is None:
                return None
            annotation, where = found.annotation, where[1:]
        elif origin in (tuple, list) and where:
            annotation, where = args[0], where[1:]
        elif origin is dict and where:
            annotation, where = args[1], where[1:]
        else:
            return None
    return typing.cast("type[BaseModel]", annotation)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _keys(model: type[BaseModel]) -> list[str]:
    return [f.alias or name for name, f in model.model_fields.items()]


def _name(key: object) -> str:
    return f"`{key}`" if isinstance(key, int) or _NAME.fullmatch(str(key)) else "(not shown: it does not look like a name)"


def _at(where: Location) -> str:
    return f"`{'.'.join(str(p) if isinstance(p, int) or _NAME.fullmatch(p) else '?' for p in where)}`" if where else "the file"


def _inside(where: Location) -> str:
    return f" in {_at(where)}" if where else ""


def _without(message: str, value: object) -> str:
    """`message` without `value`, should it repeat it."""
    if isinstance(value, str) and value:
        message = (
            message.replace(repr(value), "this value").replace(value, "this value")
            if len(value) > 2
            else message.replace(repr(value), "this value")
        )
    return message.rstrip(".")


def _without_values(message: str | None) -> str:
    return re.sub(r"'[^']*'", "a value", message or "it cannot be parsed")
