"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlxintro.cli.output import chatter

if TYPE_CHECKING:
    from mlxintro.backends.base import Backend
    from mlxintro.backends.entry_points import Group

_DEEPEST = 10_000
"""A range is written out before the model is known; no model has as many layers."""

F = TypeVar("F", bound=Callable[..., Any])


class OpenChoice(click.Choice[str]):
    """Reads one of the names that ship, or one that another package adds by an entry point."""

    def __init__(self, names: Sequence[str], group: Group) -> None:
        super().__init__(names)
        self.group = group

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in self.choices:
            return value
        # Looked up only for names that do not ship: it takes longer than all else of a start.
        from mlxintro.backends.entry_points import outside_names

        outside = outside_names(self.group)
        if value in outside:
            return value
        return click.Choice([*self.choices, *outside]).convert(value, param, ctx)


CONCEPT_FILE = click.option(
    "--concept-file",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Concepts of your own, as TOML, beside those that ship; repeatable. See docs/concepts.md.",
)


def model_options(function: F) -> F:
    """Add ``-m/--model`` and the options of how to run it."""
    for option in reversed(
        (
            click.option(
                "-m",
                "--model",
                help="Alias, hub id (owner/name), folder or GGUF file; see `models list`. Default: the backend's.",
            ),
            click.option(
                "--backend",
                type=OpenChoice(["auto", "mlx", "torch", "fake"], "mlxintro.backends"),
                default="auto",
                show_default=True,
                help="auto: MLX on Apple Silicon, else PyTorch.",
            ),
            click.option("--device", help="cuda, mps, cpu (torch); gpu, cpu (mlx). Default: the fastest there is."),
            click.option(
                "--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), help="Default: the device's."
            ),
            click.option(
                "--quantize",
                type=click.Choice(["4bit"]),
                help="Load weights that are not quantised in 4 bits: on MLX, or with torch and bitsandbytes on CUDA.",
            ),
            click.option(
                "--kv-bits",
                type=click.Choice([4, 8]),
                help="Keep keys and values in 4 or 8 bits, for long prompts in little memory (MLX only).",
            ),
            click.option(
                "--adapter",
                help="Low-rank adapter to speak with: a folder (peft, mlx-lm), a hub id, or one that ships.",
            ),
            click.option(
                "--dialogue",
                type=click.Choice(["chat", "plain"]),
                help="One format for base and instruct models: chat (template) or plain (Human:, Assistant:).",
            ),
        )
    ):
        function = option(function)
    return function


def thinking_options(function: F) -> F:
    """Add ``--thinking`` and ``--thinking-tokens``."""
    mode = click.option(
        "--thinking",
        type=click.Choice(["off", "on", "empty"]),
        help="Of models that think: off by their template's switch; on; empty puts an empty thought in their mouth.",
    )
    budget = click.option(
        "--thinking-tokens",
        type=click.IntRange(1),
        help="--thinking on: most tokens of a thought, then it is closed and the answer follows. Default: 1024.",
    )
    return mode(budget(function))


class Listing(click.ParamType[Any]):
    """Reads a comma-separated list."""

    def __init__(self, item: Callable[[str], list[Any]], name: str, metavar: str) -> None:
        self.item = item
        self.name = name
        self.metavar = metavar

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return self.metavar

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        items: list[Any] = []
        for part in filter(None, (piece.strip() for piece in value.split(","))):
            try:
                items.extend(self.item(part))
            except ValueError:
                self.fail(f"{part!r} is not {self.name}", param, context)
        if not items:
            self.fail("the list is empty", param, context)
        return tuple(items)


def _layers(text: str) -> list[int | float]:
    if text.startswith("even:"):
        from mlxintro.protocol.study_file import evenly

        return list(evenly(text))
    if "-" in text[1:]:
        span, _, step = text.partition(":")
        first, last = (int(end) for end in span.split("-"))
        if last > _DEEPEST:
            raise ValueError(f"no model has a layer {last}")
        return list(range(first, last + 1, int(step or 1)))
    return [float(text) if "." in text else int(text)]


WORDS = Listing(lambda text: [text], "a word", "WORD,...")
LAYERS = Listing(
    _layers, "a layer: give an index (20), a range (10-20 or 10-20:2), a depth fraction (0.66) or even:10", "LAYER,..."
)
STRENGTHS = Listing(lambda text: [float(text)], "a number", "NUMBER,...")
COUNTS = Listing(lambda text: [int(text)], "a whole number", "N,...")


class ControlsParam(click.ParamType[Any]):
    """Reads a suite of controls, a number of uninjected trials, or names of control arms."""

    name = "controls"
    SUITES = ("none", "standard", "full")

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "none|standard|full|N|ARM,..."

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        if value in self.SUITES or isinstance(value, int | tuple):
            return value
        if str(value).isdecimal():
            return int(value)
        from mlxintro.protocol.controls import ARMS

        names = tuple(part.strip() for part in str(value).split(","))
        if unknown := [name for name in names if name not in ARMS]:
            self.fail(
                f"{unknown[0]!r} is neither a number from 0, nor one of {', '.join(self.SUITES)}, nor a control arm: "
                f"choose from {', '.join(ARMS)}",
                param,
                context,
            )
        return names


CONTROLS = ControlsParam()


def load_backend(
    model: str | None,
    backend: str,
    **settings: Any,
) -> Backend:
    """Load a model, telling the user on stderr what takes the time; settings as for ``open_backend``."""
    from mlxintro.backends.registry import default_model, open_backend
    from mlxintro.cli.running.progress import download_progress

    name = model or default_model(backend)
    chatter(f"loading {name} ...")
    with download_progress() as progress:
        opened = open_backend(name, backend, **settings, progress=progress)
    chatter(f"loaded on {opened.info.device} in {opened.info.dtype}")
    return opened
