"""Every recipe gives what a direct computation gives, and says what it cannot do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro.backends.base import Backend
from mlxintro.backends.errors import UsageError
from mlxintro.backends.models import sources
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.backends.simulated import backend as fake
from mlxintro.protocol import presets, study_file
from mlxintro.protocol.concepts import library
from mlxintro.protocol.study import make_study
from mlxintro.protocol.trials import model_key
from mlxintro.running import launch
from mlxintro.vectors import literal
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.extraction import extract, principal_directions
from mlxintro.vectors.reading import ReadSite
from mlxintro.vectors.recipe import ContrastPairs, ExtractionRecipe, MeanDifference, PrincipalDirection, PromptPair
from mlxintro.vectors.settings import ExtractionSettings, recipe_for, shipped_contrasts
from mlxintro.vectors.vector import ConceptVector

PAIRS = (
    PromptPair("I DO NOTICE IT", "I do notice it"),
    PromptPair("TELL ME ABOUT BREAD", "Tell me about bread"),
    PromptPair("THE LAZY DOG", "the lazy dog", "I think"),
)


@pytest.fixture(scope="module")
def backend(tiny: Callable[[str], Path]) -> Iterator[Backend]:
    with torch_backend.load(sources.resolve(str(tiny("qwen2")), "torch"), device="cpu") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def subject() -> Iterator[Backend]:
    with fake.load() as loaded:
        yield loaded


@pytest.fixture(scope="module")
def reads(tiny: Callable[[str], Path]) -> Callable[..., Any]:
    """(layers, width) at the last token of a rendered prompt, straight from transformers with hooks of its own."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny("qwen2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def read(text: str, beginning: str = "", site: ReadSite = "resid_post") -> Any:
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
        )
        seen: list[Any] = []
        part = {"resid_post": lambda b: b, "attn_out": lambda b: b.self_attn, "mlp_out": lambda b: b.mlp}[site]
        handles = [
            part(block).register_forward_hook(
                lambda _m, _i, out: seen.append((out[0] if isinstance(out, tuple) else out)[0, -1].double().numpy())
            )
            for block in model.model.layers
        ]
        with torch.no_grad():
            model(torch.tensor([tokenizer(rendered + beginning, add_special_tokens=False)["input_ids"]]))
        for handle in handles:
            handle.remove()
        return np.stack(seen)

    return read


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())


def made(backend: Backend, recipe: Any) -> ConceptVector:
    return extract(backend, [recipe])[recipe.key]


def test_the_hash_of_a_recipe_from_before_other_recipes_is_unchanged() -> None:
    """Vectors and trials that are stored refer to it."""
    recipe = ExtractionRecipe("ocean", "m", "mine", ("bread", "music"))
    plain = {
        "baseline": "mine",
        "baseline_words": ["bread", "music"],
        "case": "lower",
        "method": "word-minus-baseline",
        "model": "m",
        "read": "last-template-token",
        "template": "Tell me about {word}",
        "word": "ocean",
    }
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    assert recipe.key == "b2:" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    shared = json.dumps(
        ["baseline-mean", "m", "Tell me about {word}", "lower", "last-template-token", ["bread", "music"]],
        separators=(",", ":"),
    )
    assert recipe.reference_key == "b2:" + hashlib.blake2b(shared.encode(), digest_size=16).hexdigest()


def test_contrast_pairs_give_the_mean_difference_within_pairs(backend: Backend, reads: Callable[..., Any]) -> None:
    vector = made(backend, ContrastPairs("shouting", model_key(backend.info), PAIRS))
    positives = [reads(pair.positive, pair.beginning) for pair in PAIRS]
    negatives = [reads(pair.negative, pair.beginning) for pair in PAIRS]
    close(vector.direction, np.mean([p - n for p, n in zip(positives, negatives, strict=True)], axis=0))
    close(vector.resid_norms, np.mean([np.linalg.norm(n, axis=1) for n in negatives], axis=0))


@pytest.mark.parametrize("site", ["resid_post", "attn_out", "mlp_out"])
def test_a_mean_difference_is_over_all_prompts_and_at_any_site(
    backend: Backend, reads: Callable[..., Any], site: ReadSite
) -> None:
    templates, others = ("Tell me about {word}", "I notice the {word}."), ("bread", "music", "silence")
    recipe = MeanDifference("ocean", model_key(backend.info), "mine", others, templates, site=site)
    concept = np.mean([reads(one.replace("{word}", "ocean"), site=site) for one in templates], axis=0)
    rest = [reads(one.replace("{word}", word), site=site) for word in others for one in templates]
    vector = made(backend, recipe)
    close(vector.direction, concept - np.mean(rest, axis=0))
    close(vector.resid_norms, np.mean([np.linalg.norm(one, axis=1) for one in rest], axis=0))


def test_word_minus_baseline_is_read_at_other_sites(backend: Backend, reads: Callable[..., Any]) -> None:
    recipe = ExtractionRecipe("ocean", model_key(backend.info), "mine", ("bread", "music"), site="attn_out")
    word, *others = (reads(f"Tell me about {one}", site="attn_out") for one in ("ocean", "bread", "music"))
    close(made(backend, recipe).direction, word - np.mean(others, axis=0))


@pytest.mark.parametrize("centre", ["pairs", "differences"])
def test_a_principal_direction_is_the_first_singular_vector(
    backend: Backend, reads: Callable[..., Any], centre: Any
) -> None:
    vector = made(backend, PrincipalDirection("shouting", model_key(backend.info), PAIRS, centre=centre))
    differences = np.stack(
        [reads(pair.positive, pair.beginning) - reads(pair.negative, pair.beginning) for pair in PAIRS]
    )
    if centre == "differences":
        differences = differences - differences.mean(axis=0)
    for layer in range(backend.info.layers):
        _, _, right = np.linalg.svd(differences[:, layer], full_matrices=False)
        assert abs(float(right[0] @ vector.direction[layer])) > 1 - 1e-4
        assert float(np.linalg.norm(vector.direction[layer])) == pytest.approx(1, abs=1e-5)


def test_a_principal_direction_is_repengs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own function on the same activations. Install repeng (0.4, without its dependencies) to run this."""
    # repeng 0.4 names a type that NumPy 2 has no more.
    monkeypatch.setattr(np, "float_", np.float64, raising=False)
    repeng = pytest.importorskip("repeng.extract")
    generator = np.random.default_rng(3)
    concept = generator.normal(size=(2, 48))
    common = generator.normal(size=(12, 2, 48))
    positives = common + generator.normal(1, 0.3, size=(12, 2, 1)) * concept
    negatives = common + 0.2 * generator.normal(size=(12, 2, 48))
    hidden = np.stack([positives, negatives], axis=1).reshape(24, 2, 48).astype(np.float32)
    monkeypatch.setattr(repeng, "batched_get_hiddens", lambda *_: {n: hidden[:, n].copy() for n in range(2)})
    monkeypatch.setattr(repeng, "model_layer_list", lambda _: [None, None])
    entries = [repeng.DatasetEntry("a", "b")] * 12
    for centre, method in (("pairs", "pca_center"), ("differences", "pca_diff")):
        theirs = repeng.read_representations(None, None, entries, [0, 1], method=method)
        ours = principal_directions(
            hidden[::2].astype(np.float64),
            hidden[1::2].astype(np.float64),
            centre,  # type: ignore[arg-type]
        )
        for layer in range(2):
            assert float(theirs[layer] @ ours[layer]) == pytest.approx(1, abs=1e-4)


def test_centred_differences_lose_a_concept_that_a_constant_positive_carries() -> None:
    """The trap: every positive prompt is the same, negatives vary in something else."""
    generator = np.random.default_rng(0)
    concept, topic = np.eye(32)[:2]
    negatives = generator.normal(size=(40, 1, 1)) * topic * 3 + 0.1 * generator.normal(size=(40, 1, 32))
    positives = np.broadcast_to(20 * concept, negatives.shape).copy()
    kept = principal_directions(positives, negatives, "pairs")[0]
    lost = principal_directions(positives, negatives, "differences")[0]
    assert float(kept @ concept) > 0.95
    assert abs(float(lost @ concept)) < 0.2


def test_that_trap_is_refused_by_name(subject: Backend) -> None:
    pairs = [PromptPair("Talk about bread.", f"Talk about {one}.") for one in ("music", "dogs", "silence")]
    with pytest.raises(UsageError, match="positive prompt of 'bread' is the same in all pairs"):
        PrincipalDirection("bread", "m", tuple(pairs), centre="differences")
    turned = tuple(PromptPair(pair.negative, pair.positive) for pair in pairs)
    with pytest.raises(UsageError, match="negative prompt"):
        PrincipalDirection("bread", "m", turned, centre="differences")
    assert PrincipalDirection("bread", "m", turned).key


@pytest.mark.parametrize(
    ("pairs", "what"),
    [
        ((), "needs a word"),
        ((PromptPair("same", "same"),), "must differ"),
        ((PromptPair("one", " "),), "empty"),
    ],
)
def test_pairs_that_contrast_nothing_are_refused(pairs: tuple[PromptPair, ...], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        ContrastPairs("x", "m", pairs)


def settings(**changes: Any) -> ExtractionSettings:
    plain = presets.load("lindsey").extraction.model_dump()
    return ExtractionSettings.model_validate({**plain, **changes})


def test_every_shipped_contrast_is_of_a_concept_that_graders_know() -> None:
    for word, pairs in shipped_contrasts().items():
        concept = library().find(word)
        assert concept is not None
        assert concept.related
        assert len(pairs) >= 6
        for pair in pairs:
            # The concept's own word would make the vector the carrier of that word.
            assert word not in pair.positive.casefold()


def test_a_concepts_own_pairs_go_before_those_for_any_word(subject: Backend) -> None:
    own = settings(method="contrast-pairs")
    shouted = recipe_for(own, "Shouting", subject.info)
    assert isinstance(shouted, ContrastPairs)
    assert [pair.positive for pair in shouted.pairs] == [one.positive for one in shipped_contrasts()["shouting"]]
    word = recipe_for(own, "Ocean", subject.info)
    assert isinstance(word, ContrastPairs)
    assert all("ocean" in pair.positive and "ocean" not in pair.negative for pair in word.pairs)
    mine = settings(method="contrast-pairs", contrasts={"ocean": [["the waves", "the hills"]]})
    assert recipe_for(mine, "Ocean", subject.info).pairs == (PromptPair("the waves", "the hills"),)  # type: ignore[union-attr]


def test_pca_crosses_pairs_with_beginnings_of_replies(subject: Backend) -> None:
    recipe = recipe_for(settings(method="pca", beginnings=["Well", "It"]), "ocean", subject.info)
    assert isinstance(recipe, PrincipalDirection)
    assert {pair.beginning for pair in recipe.pairs} == {"Well", "It"}
    assert len(recipe.pairs) == len(set(recipe.pairs)) == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('method = "guess"', "study.toml:3: extraction.method"),
        ('tempalte = "{word}"', "there is no such key"),
        ('method = "pca"\nread = "word"', "no one word to read at"),
        ('template = "nothing"', "exactly once"),
        ('contrasts = {x = [["only one"]]}', "a pair is two prompts"),
    ],
)
def test_a_studys_extraction_is_checked_with_its_line(text: str, message: str) -> None:
    body = f'experiment = "injected-thoughts"\nmodel = "fake"\n[extraction]\n{text}\n'
    found = study_file.parse(body, "study.toml", Path())
    with pytest.raises(UsageError) as caught, found.told():
        launch.check(make_study(**{**found.settings, "model": "fake", "backend": "fake"}))
    assert message in str(caught.value)
    assert str(caught.value).startswith("study.toml:3: ")


@pytest.mark.parametrize("experiment", ["injected-thoughts", "localization"])
def test_a_studys_extraction_reaches_its_trials_and_comes_back_from_a_file(experiment: str, subject: Backend) -> None:
    extraction = {"method": "mean-difference", "site": "mlp_out", "templates": ["Of {word}"]}
    study = make_study(experiment=experiment, model="fake", concepts=("ocean",), extraction=extraction, controls="none")
    again = study_file.parse(study_file.write(study), "again.toml", Path())
    for one in (study, make_study(**{**again.settings, "model": "fake"})):
        planned = launch.plan(launch.check(one), subject)
        (recipe,) = planned.recipes.values()
        assert isinstance(recipe, MeanDifference)
        assert recipe.templates == ("Of {word}",)
        injections = [injection for spec in planned for injection in spec.injections]
        assert {injection.site for injection in injections} == {"mlp_out"}
        assert {injection.vector for injection in injections} == {recipe.key}


def test_vectors_of_every_recipe_come_back_from_the_cache(subject: Backend, tmp_path: Path) -> None:
    cache = VectorCache(tmp_path)
    recipes = [
        recipe_for(settings(method=method), "ocean", subject.info)
        for method in ("word-minus-baseline", "mean-difference", "contrast-pairs", "pca")
    ]
    assert len({recipe.key for recipe in recipes}) == 4
    first = extract(subject, recipes, cache)
    read: list[tuple[int, int]] = []
    again = extract(subject, recipes, cache, progress=lambda *at: read.append(at))
    assert not read
    for key, vector in first.items():
        np.testing.assert_array_equal(vector.direction, again[key].direction)
        assert literal.stored_check(again[key]) == literal.stored_check(vector)


class Lens:
    """A model of which only the logit lens and the tokenizer matter: it writes the tokens that it is told to."""

    def __init__(self, subject: Backend, first: Sequence[str]) -> None:
        self.tokenizer, self.info = subject.tokenizer, subject.info
        self._first = [self.tokenizer.encode(text).tokens[0] for text in first]

    def lens(self, residuals: Any, tokens: Any = None) -> Any:
        scores = np.full((len(residuals), self.info.vocabulary), -20.0, np.float32)
        scores += np.random.default_rng(0).normal(size=scores.shape).astype(np.float32)
        for place, token in enumerate(self._first):
            scores[:, token] = -place
        return scores


def test_a_vector_that_writes_its_literal_token_alone_is_told_from_a_concepts(subject: Backend) -> None:
    pairs = tuple(
        PromptPair(f"The ocean {rest}", f"The hill {rest}") for rest in ("is far", "was here", "may be near", "shone")
    )
    layers, width = subject.info.layers, subject.info.width
    vector = ConceptVector(
        ContrastPairs("ocean", model_key(subject.info), pairs),
        np.ones((layers, width), np.float32),
        np.ones(layers, np.float32),
    )
    (carrier,) = literal.check(Lens(subject, [" ocean"]), [vector])  # type: ignore[arg-type]
    assert carrier.tokens == (" ocean",)
    assert carrier.rank == 1
    assert carrier.finding == "alone"
    assert "may carry the literal token" in carrier.warning
    (concept,) = literal.check(Lens(subject, [" ocean", " sea", " seas"]), [vector])  # type: ignore[arg-type]
    assert concept.finding == "with other names"
    assert not concept.warning
    (other,) = literal.check(Lens(subject, [" bread"]), [vector])  # type: ignore[arg-type]
    assert other.finding == "not written"


def test_prompts_that_share_no_word_of_their_own_have_no_literal_token(subject: Backend) -> None:
    pairs = (PromptPair("The ocean", "The music"), PromptPair("A bread", "A hill"))
    vector = ConceptVector(
        ContrastPairs("bread", model_key(subject.info), pairs),
        np.ones((subject.info.layers, subject.info.width), np.float32),
        np.ones(subject.info.layers, np.float32),
    )
    (found,) = literal.check(Lens(subject, [" bread"]), [vector])  # type: ignore[arg-type]
    assert found.tokens == ()
    assert found.finding == "no literal token"
