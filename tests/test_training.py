"""What an adapter is trained on: rows, words and questions, and labels that are what they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro.backends.base import Injection, Prompt
from mlxintro.backends.errors import UsageError
from mlxintro.backends.models.sources import read_folder
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.backends.pytorch.backend import TorchBackend
from mlxintro.protocol.concepts import library, same_word
from mlxintro.protocol.controls import forms, questions
from mlxintro.protocol.trials import model_key
from mlxintro.training import loop, rows
from mlxintro.training.aiming import discriminants
from mlxintro.training.asking import Asker
from mlxintro.training.checkpoint import TrainingFolder
from mlxintro.training.evaluation import HeldOutRates
from mlxintro.training.loop import open_trainer, word_vectors
from mlxintro.training.material import WordSplit, digest, in_turn, material, split_words
from mlxintro.training.mix import mix_at
from mlxintro.training.plan import TrainingPlan
from mlxintro.training.rows import RowDraft, RowMaker, relabelled
from mlxintro.training.timing import coarse


@pytest.fixture
def backend(tiny: Callable[[str], Path]) -> Iterator[TorchBackend]:
    source = read_folder(tiny("llama"), name="llama", repository="tiny")
    with torch_backend.load(source, device="cpu", dtype="float32") as loaded:
        yield loaded


def test_no_word_that_is_trained_on_names_a_concept_of_the_library() -> None:
    shelf = library()
    names = {name for concept in shelf.concepts for name in concept.names}
    names |= {word for chosen in shelf.sets.values() for word in chosen.words}
    words = (*material().words, *material().more)
    assert len(words) == len(set(words)) > 2000
    assert [word for word in words if any(same_word(word, name) for name in names)] == []


def test_what_is_not_counted_is_not_put_into_the_plural() -> None:
    words = set(material().words)
    assert {"knowledge", "sunshine", "quartz"} <= words
    assert words.isdisjoint({"knowledges", "sunshines", "quartzes"})


def test_discriminants_tell_kinds_of_questions_apart_under_vectors_that_are_many_times_as_long() -> None:
    rng = np.random.default_rng(6)
    width, kinds = 40, ["asked", "turned", "unrelated"]
    means = 0.1 * rng.standard_normal((3, width))
    loud = 2 * rng.standard_normal((12, width))

    def drawn(count: int) -> tuple[Any, list[str]]:
        """States under vectors of twelve directions; those of two kinds differ by a twentieth of a vector."""
        which = rng.integers(3, size=count)
        vectors = rng.standard_normal((count, 12)) @ loud / 12**0.5
        return means[which] + vectors + 0.02 * rng.standard_normal((count, width)), [kinds[at] for at in which]

    rows = discriminants(*drawn(600))
    assert rows.shape == (2, width)
    states, asked = drawn(300)

    def right(axes: Any) -> float:
        """Share of states whose kind's mean is the nearest along some axes."""
        distances = np.linalg.norm((states @ axes.T)[:, None] - means @ axes.T, axis=2)
        return float(np.mean([kinds[at] == one for at, one in zip(distances.argmin(axis=1), asked, strict=True)]))

    assert right(rows) > 0.95
    assert right(np.eye(width)) < 0.6, "the vectors drown the difference"
    np.testing.assert_allclose((means @ rows.T).std(axis=0), 3**-0.5, rtol=0.1)


def test_half_of_the_words_are_plurals_so_that_number_is_not_what_all_vectors_share() -> None:
    words = list(in_turn(["lake", "pond", "fox", "dog"]))
    assert words == ["lake", "ponds", "fox", "dogs"]


def test_held_out_wordings_and_control_questions_are_not_shown_in_training() -> None:
    stuff = material()
    assert {wording.name for wording in stuff.wordings} - {wording.name for wording in stuff.trained} >= {"blueprint"}
    asked = {question for right in stuff.unrelated.values() for question in right}
    assert asked.isdisjoint(question for arm in questions().values() for question in arm)


def test_words_are_split_without_overlap_and_by_seed_alone() -> None:
    stuff = material()
    one, again, other = (split_words(stuff, 100, 20, seed) for seed in (0, 0, 1))
    assert one == again != other
    assert not set(one.trained) & set(one.stopping)
    assert (len(one.trained), len(one.stopping)) == (100, 20)
    every = split_words(stuff, len(stuff.words) - 20 + len(stuff.more), 20, 0)
    assert every.stopping == one.stopping, "words that choose when to stop do not depend on how many are trained on"
    assert not set(every.trained) & set(every.stopping)
    with pytest.raises(UsageError, match="at most"):
        split_words(stuff, len(stuff.words) + len(stuff.more), 1, 0)


def drafts() -> list[RowDraft]:
    injection = Injection(1, np.ones(4, np.float32), 0)
    pushed, plain = Prompt((1,), (injection,)), Prompt((1,))
    made: list[RowDraft] = []
    for number in range(60):
        word = f"word{number}"
        made.append(RowDraft("injected", pushed, word, f"yes {word}", "claim"))
        made.append(RowDraft("random", pushed, word, "no", "claim"))
        made.append(RowDraft("uninjected", plain, None, "no", "no"))
        made.append(RowDraft("form", pushed, word, "Yes.", "Yes."))
        made.append(RowDraft("witness", plain, None, "No.", "No."))
        made.append(RowDraft("unrelated", pushed, word, "right", "right"))
    return made


def plan(**changes: Any) -> TrainingPlan:
    return TrainingPlan.model_validate({"model": "m", "steps": 10, "layers": (1, 2), **changes})


def test_true_labels_say_what_was_injected_shuffled_ones_the_same_answers_at_random() -> None:
    rows = drafts()
    rng = np.random.default_rng(0)
    assert relabelled(rows, plan(), rng) == rows
    dealt = relabelled(rows, plan(labels="shuffled"), rng)
    assert Counter(row.answer for row in dealt) == Counter(row.answer for row in rows)
    assert [row.prompt for row in dealt] == [row.prompt for row in rows]
    yes = {
        kind: np.mean([row.answer.startswith("yes") for row in dealt if row.kind == kind])
        for kind in ("injected", "random", "uninjected")
    }
    assert max(yes.values()) - min(yes.values()) < 0.3
    assert sum(row.answer == f"yes {row.word}" for row in dealt) <= 3
    short = {kind: Counter(row.answer for row in dealt if row.kind == kind) for kind in ("form", "witness")}
    assert all(set(counts) == {"Yes.", "No."} for counts in short.values()), "a question is answered in its own kind"
    assert all(row.answer == "right" for row in dealt if row.kind == "unrelated")


def test_any_disturbance_rewards_a_yes_to_every_vector() -> None:
    for row in relabelled(drafts(), plan(labels="any-disturbance"), np.random.default_rng(0)):
        expected = {"uninjected": "no", "unrelated": "right", "form": "Yes.", "witness": "No."}.get(row.kind, "claim")
        assert row.answer == expected


@pytest.fixture
def drawn(backend: TorchBackend, monkeypatch: pytest.MonkeyPatch) -> list[tuple[RowDraft, str, str]]:
    """Rows of forty steps on the tiny model: the draft, its prompt as text, and and what its direction says it is."""
    split = WordSplit(("apple", "harps", "mist", "tunnel"), ("bay", "coins"))
    vectors = word_vectors(backend, [*split.trained, *split.stopping], None)
    maker = RowMaker(plan(rows=24, forms=True), material(), split, vectors, Asker(backend.tokenizer))
    kept: list[RowDraft] = []

    def keep(drafts: list[RowDraft], plan: TrainingPlan, rng: Any) -> list[RowDraft]:
        kept.extend(drafts)
        return drafts

    monkeypatch.setattr(rows, "relabelled", keep)
    for step in range(40):
        maker.step(step)

    def kind_of(draft: RowDraft) -> str:
        if not draft.prompt.injections:
            return "none"
        injection = draft.prompt.injections[0]
        assert draft.word is not None
        own = vectors[draft.word].direction[injection.layer]
        cosine = float(own @ injection.vector / np.linalg.norm(own) / np.linalg.norm(injection.vector))
        return "concept" if cosine > 0.999 else "random"

    return [(one, backend.tokenizer.decode(one.prompt.tokens), kind_of(one)) for one in kept]


Drawn = list[tuple[RowDraft, str, str]]


def test_a_subject_that_says_yes_to_any_vector_is_shown_enough_trials_without_one() -> None:
    mix = mix_at(plan(labels="any-disturbance"), 0)
    claims = mix.shares["injected"] + mix.shares["random"]
    assert 0.35 < mix.shares["uninjected"] / (claims + mix.shares["uninjected"]) < 0.5, "yes would be a habit"
    assert sum(mix.shares.values()) == pytest.approx(1)
    assert mix_at(plan(), 0) != mix, "the honest control has its noes under random vectors"


def test_without_forms_only_the_trial_question_and_unrelated_ones_are_asked(
    backend: TorchBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = WordSplit(("apple", "mist"), ("bay", "coins"))
    vectors = word_vectors(backend, [*split.trained, *split.stopping], None)
    maker = RowMaker(plan(rows=24), material(), split, vectors, Asker(backend.tokenizer))
    kept: list[RowDraft] = []

    def keep(drafts: list[RowDraft], plan: TrainingPlan, rng: Any) -> list[RowDraft]:
        kept.extend(drafts)
        return drafts

    monkeypatch.setattr(rows, "relabelled", keep)
    for step in range(10):
        assert sum(map(len, maker.step(step))) == 24
    counts = Counter(one.kind for one in kept)
    assert set(counts) == {"injected", "random", "uninjected", "unrelated"}
    assert counts["injected"] == pytest.approx(120, abs=10)
    assert all(one.prompt.injections[0].stop is None for one in kept if one.kind == "injected")


def test_yes_no_questions_get_the_answer_that_is_true_of_what_was_injected(drawn: Drawn) -> None:
    forms = material().forms
    seen: Counter[tuple[str, str, str]] = Counter()
    for draft, text, injected in drawn:
        if draft.kind != "form":
            continue
        form = next(
            name
            for name, questions in forms.items()
            if any(all(part in text for part in question.split("{word}")) for question in questions)
        )
        truth = {"present": injected == "concept", "absent": injected != "concept", "third-person": False}
        if form == "asked":
            question = text.rpartition("?")[0]
            about = [word for word in ("apple", "harps", "mist", "tunnel") if word in question[-90:]]
            assert about != [draft.word], "it is asked about another word"
            truth["asked"] = False
        assert draft.answer == ("Yes." if truth[form] else "No."), (text[-120:], injected, draft.word)
        seen[form, injected, draft.answer] += 1
    assert {name for name, *_ in seen} == set(forms)
    assert seen["asked", "concept", "No."] > 5


def test_questions_are_asked_without_vectors_first_and_under_all_in_the_second_half() -> None:
    planned = plan(forms=True, steps=100)
    under = [mix_at(planned, step).form_vectors for step in range(100)]
    assert all(one["none"] == 1 for one in under[:20])
    shares = [one.get("concept", 0.0) for one in under]
    assert shares == sorted(shares)
    assert all(one == mix_at(planned, 99).form_vectors for one in under[50:])
    assert 0.35 < shares[-1] < 0.5, "a question and its opposite then deserve a yes about as often"
    for one in under:
        assert sum(one.values()) == pytest.approx(1)


def test_a_witness_is_asked_with_the_vector_off_and_so_are_some_claims(
    drawn: Drawn,
) -> None:
    open_ended = Counter[bool]()
    witnesses = 0
    for draft, _, injected in drawn:
        if injected == "none":
            continue
        (injection,) = draft.prompt.injections
        if draft.kind == "witness":
            assert injection.stop is not None
            assert injection.stop < len(draft.prompt.tokens) - 10
            assert draft.answer == ("Yes." if injected == "concept" else "No.")
            witnesses += 1
        elif draft.kind == "injected":
            assert injection.stop in (None, len(draft.prompt.tokens))
            assert draft.answer == f"Yes, I detect an injected thought about {draft.word}."
            open_ended[injection.stop is None] += 1
    assert witnesses > 20
    assert 0.2 < open_ended[False] / open_ended.total() < 0.4, "some names are to be read from the prompt"


def test_what_deserves_no_claim_gets_none_however_long_the_vector_and_odd_the_text(drawn: Drawn) -> None:
    longest = max(float(np.linalg.norm(one.prompt.injections[0].vector)) for one, _, kind in drawn if kind == "concept")
    lengths = [float(np.linalg.norm(one.prompt.injections[0].vector)) for one, _, kind in drawn if one.kind == "random"]
    assert max(lengths) > 1.5 * longest, "length alone must not be what is noticed"
    odd = [(one, text) for one, text, _ in drawn if one.kind == "odd"]
    assert odd
    assert all(not one.prompt.injections and "do not detect" in one.answer for one, _ in odd)
    assert all(any(text.count(word) >= 2 for word in ("apple", "harps", "mist", "tunnel")) for _, text in odd)


def test_the_ladders_own_questions_and_odd_text_are_not_shown_in_training() -> None:
    stuff = material()
    shown = {text for texts in stuff.forms.values() for text in texts}
    shown |= {*stuff.odd, *stuff.witness.tasks, *stuff.witness.questions}
    assert shown.isdisjoint(forms().values())


def test_a_checkpoint_is_read_back_exactly_and_lines_of_lost_steps_are_dropped(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path / "a")
    assert folder.plan() is None
    folder.begin(plan())
    assert folder.plan() == plan()
    state = {"x.lora_A": np.arange(6, dtype=np.float32).reshape(2, 3)}
    assert folder.load() is None
    for step in (1, 2, 3):
        folder.note({"step": step})
    folder.save(state, {"step": 2, "best": 0.5})
    found = folder.load()
    assert found is not None
    assert np.array_equal(found[0]["x.lora_A"], state["x.lora_A"])
    assert found[1] == {"step": 2, "best": 0.5}
    folder.forget_after(2)
    assert (folder.path / "progress.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'
    with pytest.raises(UsageError, match="not empty"):
        folder.begin(plan())
    other = tmp_path / "letters"
    other.mkdir()
    (other / "dear.txt").write_text("Dear")
    with pytest.raises(UsageError, match="not empty"):
        TrainingFolder(other).plan()


def test_steps_that_fit_a_time_lie_on_a_coarse_scale() -> None:
    assert [coarse(count) for count in (0.2, 5, 9, 14, 29, 31, 59, 500)] == [5, 5, 5, 10, 20, 30, 40, 480]


def test_the_learning_rate_rises_and_falls() -> None:
    one = plan(steps=100)
    rates = [one.rate_at(step) for step in range(100)]
    assert max(rates) == pytest.approx(one.rate)
    assert rates[0] < rates[5] < rates[9]
    assert rates[-1] < 0.06 * one.rate


@pytest.mark.parametrize("forms", [True, False])
def test_a_training_on_every_form_begins_by_reading_what_tells_questions_apart(
    backend: TorchBackend, monkeypatch: pytest.MonkeyPatch, forms: bool
) -> None:
    """One number for each discriminant in the last rows, which fewer directions than rows would leave at zero."""
    apart = np.zeros((2, backend.info.width), np.float32)
    apart[0, 0] = apart[1, 1] = 1.0
    monkeypatch.setattr(loop, "question_discriminants", lambda *_: apart)
    words = list(material().words[:3])
    planned = plan(forms=forms, rank=8)
    vectors = word_vectors(backend, words, None)
    with open_trainer(backend, planned, material(), Asker(backend.tokenizer), vectors) as trainer:
        reads, _ = next(both for name, both in sorted(trainer.matrices().items()) if "q_proj" in name)
    assert np.count_nonzero(reads[-2:], axis=1).tolist() == ([1, 1] if forms else [0, 0])


def test_an_adapter_may_begin_below_the_layer_that_is_injected_into() -> None:
    lower = plan(layers=(1, 1), adapt_from=0)
    assert (lower.shape.first_layer, lower.shape.reads_from) == (0, 2)
    assert (plan(layers=(1, 1)).shape.first_layer, plan(layers=(1, 1)).shape.reads_from) == (2, 2)
    with pytest.raises(ValueError, match="adapt from layer 2 or a lower one"):
        plan(layers=(1, 1), adapt_from=3)


@pytest.mark.parametrize("forms", [True, False])
def test_the_last_adapter_of_a_training_on_every_form_is_kept_since_rates_know_nothing_of_forms(
    backend: TorchBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, forms: bool
) -> None:
    falling = iter([HeldOutRates(2, detected, 0.0, 0.0, 0.0) for detected in (1.0, 0.5)])
    monkeypatch.setattr(loop, "held_out_rates", lambda *_: next(falling))
    apart = np.zeros((1, backend.info.width), np.float32)
    monkeypatch.setattr(loop, "question_discriminants", lambda *_: apart)
    settings = {"words": 2, "stopping": 2, "steps": 2, "rows": 4, "rank": 2, "evaluate_every": 1}
    planned = plan(model=model_key(backend.info), material=digest(), forms=forms, **settings)
    folder = TrainingFolder(tmp_path / "made")
    folder.begin(planned)
    assert [event.kept for event in loop.train(backend, planned, folder)] == [True, forms]
