"""What the model libraries raise or do beyond what they promise, turned into one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..errors import KnownError, ModelError

_LONGEST = 200


def line(error: BaseException) -> str:
    """Say what an error of a library says, in one line; with its kind where the text alone says little."""
    text = " ".join(str(error).split()).rstrip(".")
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    kind = type(error).__name__
    if isinstance(error, (OSError, ValueError, RuntimeError)) and text:
        return text
    return f"{kind}: {text}" if text else kind


@contextlib.contextmanager
def told(what: str, advice: str) -> Iterator[None]:
    """Turn whatever a library raises into a ``ModelError``: ``what (its reason): advice``.

    Libraries raise errors of any kind over damaged files, panic (tokenizers, in Rust), and even leave the program
    (mlx-lm, over a package it misses). A wish of the user's to stop is no such error, nor is a full memory.
    """
    try:
        yield
    except (KnownError, KeyboardInterrupt, GeneratorExit, MemoryError):
        raise
    except BaseException as error:
        raise ModelError(f"{what} ({line(error)}): {advice}") from error


@contextlib.contextmanager
def loading(what: str, advice: str) -> Iterator[None]:
    """Load files that are on disk: errors as in ``told``, nothing fetched, nothing printed.

    What a model's files name (kernels, processors, base models) is never looked up on the hub. A terminal program owns
    the screen, so transformers shows no bars and logs errors only.
    """
    from huggingface_hub import constants
    from transformers.utils import logging

    bars, verbosity, online = logging.is_progress_bar_enabled(), logging.get_verbosity(), constants.HF_HUB_OFFLINE
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    constants.HF_HUB_OFFLINE = True
    try:
        with told(what, advice):
            yield
    finally:
        constants.HF_HUB_OFFLINE = online
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def overflow(dtype: str) -> str:
    """Explain why finite weights lead to numbers that are not finite, and say what to do."""
    if dtype == "float16":
        return "the model's activations overflow float16: use --dtype bfloat16"
    return (
        f"the model computes numbers that are not finite in {dtype}, although its weights are finite: they or "
        "config.json are damaged; fetch the model again, or choose another"
    )
