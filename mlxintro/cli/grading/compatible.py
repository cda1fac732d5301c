"""``mlxintro grade openai``: a judge behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlxintro.backends.errors import UsageError
from mlxintro.cli.grading.asking import Asking
from mlxintro.cli.grading.claude import Service, grade_by_service

if TYPE_CHECKING:
    from mlxintro.store.records import Run
    from mlxintro.store.store import Store


def grade_by_endpoint(store: Store, run: Run, base_url: str | None, model: str | None, name: str, how: Asking) -> None:
    """Grade a run by a model of an endpoint; local endpoints cost nothing, others need ``--price``.

    Raises:
        UsageError: no address, no model, or no price.
    """
    from mlxintro.grading.claude.prices import Model, Tariff
    from mlxintro.grading.compatible.api import is_local, open_client, put_to_endpoint
    from mlxintro.grading.compatible.questions import CompatibleGrader

    address = base_url or os.environ.get("OPENAI_BASE_URL", "").strip()
    if not address:
        raise UsageError("--grader openai needs --base-url, e.g. http://localhost:11434/v1 (Ollama)")
    if not model:
        raise UsageError("--grader openai needs --model: the model as the endpoint calls it")
    if how.price is None and not is_local(address):
        raise UsageError(f"the price of {model!r} is not known: give it with --price IN,OUT (USD per million tokens)")
    into, out = how.price or (0.0, 0.0)
    service = Service(put_to_endpoint, lambda: open_client(address), "a local endpoint" if how.price is None else "")
    grade_by_service(
        store, run, CompatibleGrader(model, name=name), Tariff(Model(input=into, output=out)), service, how
    )
