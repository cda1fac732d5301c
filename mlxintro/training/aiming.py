"""What the maps of an adapter begin by reading, beside the vectors: what tells kinds of questions apart.

At the token that is to answer, a question and its opposite differ by a twentieth of the residual norm, while what is
injected there is as long as two fifths of it or more. From a start that reads the vectors alone, the difference is too
faint for a gradient: an adapter trained on such questions for thirty steps stood at a coin's loss. So some rows begin
as Fisher's linear discriminants of the kinds, computed under the vectors that will be injected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mlxintro.backends.base import Backend, Float32, Prompt
from mlxintro.protocol.trials import Transform
from mlxintro.training.asking import Asker
from mlxintro.training.material import Material
from mlxintro.training.plan import TrainingPlan
from mlxintro.vectors.vector import ConceptVector

_UNDER_CONCEPTS, _UNDER_RANDOM, _UNINJECTED = 8, 3, 2
"""How often each state is seen under a concept vector, a random one, and none."""
_SHRINKAGE = 0.05
"""Share by which the covariance within kinds is drawn towards that of equal directions."""
_UNRELATED = 24
"""About so many unrelated questions of each answer are read."""
_TRIALS = 8
"""Trial numbers with which the trial question itself is asked."""


def question_discriminants(
    backend: Backend, plan: TrainingPlan, stuff: Material, asker: Asker, vectors: Mapping[str, ConceptVector]
) -> Float32:
    """Return the directions that tell kinds of questions apart at the answering token, whatever is injected.

    Kinds are the trial question, the forms of yes-no questions about it, and unrelated questions by their answer.

    Args:
        vectors: of the words that are trained on.

    Returns:
        (kinds - 1, width) float32, to be read from the normalised residual stream above the highest layer that is
        injected into; of such lengths that the means of the kinds differ by as much along each.
    """
    layer = plan.layers[1]
    words = list(vectors)
    asked = list(_asked(stuff, words))
    offered = stuff.trained
    prompts = [
        Prompt(asker.ask(offered[at % len(offered)], 1 + at % _TRIALS, question).tokens)
        for at, (_, question) in enumerate(asked)
    ]
    found = backend.capture(prompts, layers=[layer], positions=[-1])
    states = np.array([one["resid_post"][0, 0] for one in found], np.float64)
    seen = _under_vectors(states, [vectors[word] for word in words], plan)
    return discriminants(seen, [kind for kind, _ in asked] * (len(seen) // len(asked)))


def discriminants(seen: NDArray[np.float64], kinds: Sequence[str]) -> Float32:
    """Return Fisher's linear discriminants of states by kind, (kinds - 1, width), the strongest first.

    Args:
        seen: (count, width) states as they are met, with whatever makes states of one kind differ.
        kinds: of every state; each kind counts alike, however many states it has.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    count = len(set(kinds))
    fit = LinearDiscriminantAnalysis(solver="eigen", shrinkage=_SHRINKAGE, priors=np.full(count, 1 / count))
    fit.fit(seen, kinds)
    rows = fit.scalings_[:, : count - 1].T
    spread = (fit.means_ @ rows.T).std(axis=0)
    # As loud as the vectors are along their own rows: ``backends.adapters.beginning.reading_rows``.
    found: Float32 = (rows / (np.sqrt(3) * spread)[:, None]).astype(np.float32)
    return found


def _asked(stuff: Material, words: list[str]) -> Iterator[tuple[str, str]]:
    """Every question with its kind; the trial question is the empty text."""
    for _ in range(_TRIALS):
        yield "trial", ""
    for form, questions in stuff.forms.items():
        for at, question in enumerate(questions):
            yield form, question.replace("{word}", words[at % len(words)])
    for right, questions in stuff.unrelated.items():
        for question in questions[:: max(1, len(questions) // _UNRELATED)]:
            yield f"unrelated, {right}", question


def _under_vectors(
    states: NDArray[np.float64], vectors: list[ConceptVector], plan: TrainingPlan
) -> NDArray[np.float64]:
    """Normalised states, each under several vectors of the plan's strengths and under none."""
    rng = np.random.default_rng([plan.seed, 3])
    seen = []
    for turn in range(_UNDER_CONCEPTS + _UNDER_RANDOM + _UNINJECTED):
        added = np.zeros_like(states)
        if turn < _UNDER_CONCEPTS + _UNDER_RANDOM:
            transform: Transform = "none" if turn < _UNDER_CONCEPTS else "random"
            for row in added:
                vector = vectors[int(rng.integers(len(vectors)))]
                strength, seed = float(rng.uniform(*plan.strengths)), int(rng.integers(2**31))
                row[:] = vector.scaled(plan.layers[1], strength, "resid", transform=transform, seed=seed)[0]
        whole = states + added
        seen.append(whole / np.sqrt((whole**2).mean(axis=1, keepdims=True)))
    return np.concatenate(seen)
