"""Chat templates: programs out of a model's folder, run under limits.

A template may loop for ever, double a string until memory is full, or print today's date. Here it runs in Jinja's
sandbox with the same functions that transformers offers, and with a bound on steps, on what it builds and on time; the
date is given from outside. Limits are counted, not timed, wherever possible, so that a template is refused on every
machine alike. Knows nothing of tokens.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

LONGEST_SOURCE = 2**20
STEPS = 300_000
"""Turns of loops and calls in one rendering."""
BUILT = 64 * 2**20
"""Characters and items that one rendering may put together, everything counted."""
SECONDS = 5.0

_LARGEST_NUMBER = 10**6
_LONG_NUMBER = re.compile(r"\d{6}")
_DATED = re.compile(r"\bstrftime_now\b")


class TemplateError(Exception):
    """The template cannot be rendered; the text is one line."""


class ChatTemplate:
    """Renders dialogues with a compiled chat template.

    Raises:
        TemplateError: it is no template.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.dated = bool(_DATED.search(source))
        """Whether what it writes depends on the date."""
        if len(source) > LONGEST_SOURCE:
            raise TemplateError(f"it has {len(source)} characters")
        self._environment = _Environment()
        self._compiled = _guarded(lambda: self._environment.from_string(source))

    def render(self, values: Mapping[str, Any], date: datetime.date) -> str:
        """Fill the template in.

        Args:
            values: the template's variables, ``messages`` among them.
            date: what ``strftime_now`` tells the date by, at midnight.

        Raises:
            TemplateError: it fails, refuses these values, or goes beyond a limit.
        """
        self._environment.begin(datetime.datetime.combine(date, datetime.time()))
        return _guarded(lambda: str(self._compiled.render(**values)))


_Made = TypeVar("_Made")


def _guarded(work: Callable[[], _Made]) -> _Made:
    try:
        return work()
    except RecursionError:
        raise TemplateError("it calls itself without end") from None
    except MemoryError:
        raise TemplateError("it needs more memory than there is") from None
    except Exception as error:
        text = " ".join(str(error).split())
        raise TemplateError(text[:200] or type(error).__name__) from error


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            # Constants would be computed while compiling, before any limit holds.
            optimized=False,
            extensions=[_Generation, jinja2.ext.loopcontrols],
        )
        self.filters = {name: self._limited(filter_) for name, filter_ in self.filters.items()}
        self.filters |= {"tojson": self._limited(_tojson), "_turn": self._turns, "_built": self._builds}
        self.globals |= {"raise_exception": _raise, "strftime_now": self._now, "namespace": _Namespace}
        self.begin(datetime.datetime(2000, 1, 1))  # noqa: DTZ001  # replaced before anything is rendered

    def begin(self, now: datetime.datetime) -> None:
        """Start counting anew."""
        self._date = now
        self._steps = self._size = 0
        self._deadline = time.monotonic() + SECONDS

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self._step()
        target = getattr(function, "__self__", None)
        self._check(getattr(function, "__name__", ""), (target, *args), kwargs)
        return self._build(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        self._step()
        if operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * (right if operator == "**" else 1) + right.bit_length()
            if bits > 4096:
                raise jinja2.TemplateError("it computes a number of more than 4096 bits")
        elif operator == "*":
            for many, times in ((left, right), (right, left)):
                if isinstance(many, str | list | tuple) and isinstance(times, int):
                    self._grow(len(many) * max(times, 0))
        elif operator == "%" and isinstance(left, str):
            self._check("format", (left, right), {})
        return self._build(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> Any:
        """Bound what ``"...".format(...)`` may pad to."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None and _LONG_NUMBER.search(value.__self__):
            raise jinja2.TemplateError("it formats with an unreasonable width")
        return wrapped

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = _filtered(loop.iter, "_turn")
        for joined in list(tree.find_all(nodes.Concat)):
            joined.nodes = [_filtered(part, "_built") for part in joined.nodes]
        for output in list(tree.find_all(nodes.Output)):
            output.nodes = [
                _filtered(nodes.Const(part.data) if isinstance(part, nodes.TemplateData) else part, "_built")
                for part in output.nodes
            ]
        return tree

    def _turns(self, values: Any) -> Any:
        # A generator: loop.length and loop.last need the values counted in advance where they can be.
        if isinstance(values, str | list | tuple | dict):
            return _CountedLoop(values, self._step)
        return (value for value in values if self._step())

    # A filter that asks for the context is never computed while compiling.
    @jinja2.pass_context
    def _builds(self, _: Any, value: Any) -> Any:
        return self._build(value if isinstance(value, str) else str(value))

    def _now(self, form: str) -> str:
        if _LONG_NUMBER.search(form):
            raise jinja2.TemplateError("it asks for a date of unreasonable width")
        return self._date.strftime(form)

    def _limited(self, function: Any) -> Any:
        """A filter that counts as a step, whose arguments are sane and whose result is counted."""

        @functools.wraps(function)
        def limited(*args: Any, **kwargs: Any) -> Any:
            self._step()
            self._check(getattr(function, "__name__", "").removeprefix("do_"), args, kwargs)
            return self._build(function(*args, **kwargs))

        return limited

    def _check(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Refuse arguments with which one call alone would fill the memory."""
        for value in (*args, *kwargs.values()):
            if isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
                raise jinja2.TemplateError("it passes a number above a million")
        texts = [value for value in args if isinstance(value, str)]
        if name in ("format", "format_map") and texts and _LONG_NUMBER.search(texts[0]):
            raise jinja2.TemplateError("it formats with an unreasonable width")
        if name == "replace" and len(texts) >= 3:
            self._grow(len(texts[0]) + (texts[0].count(texts[1]) if texts[1] else len(texts[0])) * len(texts[2]))
        if name == "join":
            for value in args:
                if isinstance(value, list | tuple):
                    self._grow(sum(len(part) for part in value if isinstance(part, str)))

    def _build(self, value: Any) -> Any:
        if isinstance(value, str | list | tuple | dict | bytes):
            self._grow(len(value))
        return value

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > BUILT:
            raise jinja2.TemplateError(f"it builds more than {BUILT // 2**20} million characters")

    def _step(self) -> bool:
        self._steps += 1
        if self._steps > STEPS:
            raise jinja2.TemplateError(f"it takes more than {STEPS} steps")
        if self._steps % 256 == 0 and time.monotonic() > self._deadline:
            raise jinja2.TemplateError(f"it takes longer than {SECONDS:g} seconds")
        return True


class _CountedLoop(Sequence[Any]):
    """Counts what a loop goes over: each turn is a step."""

    def __init__(self, values: Any, step: Callable[[], bool]) -> None:
        self._values = values if isinstance(values, str | list | tuple) else list(values)
        self._step = step

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        self._step()
        return self._values[index]


class _Generation(jinja2.ext.Extension):
    """Reads ``{% generation %}``, which marks what the assistant said, for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012  # as the library declares it

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(jinja2.utils.Namespace):
    """Refuses names that begin with an underscore, which lead out of the sandbox."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise jinja2.TemplateError(f"it stores an attribute called {name!r:.40}")
        super().__setitem__(name, value)


def _filtered(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno or 1)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Without the escapes for HTML that Jinja's own filter writes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
