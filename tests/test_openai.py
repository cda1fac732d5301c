"""A judge behind an OpenAI-compatible endpoint, against a real server: the same grades, the same care with money."""

from __future__ import annotations

import contextvars
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from mlxintro.backends.errors import KnownError, PrerequisiteError, UsageError
from mlxintro.grading import rubric
from mlxintro.grading.base import Grade
from mlxintro.grading.claude.budget import Budget
from mlxintro.grading.claude.live import run_live
from mlxintro.grading.claude.passes import ClaudePass, Report
from mlxintro.grading.claude.prices import Model, Tariff, Usage
from mlxintro.grading.claude.wire import open_http
from mlxintro.grading.compatible.api import is_local, open_client, put_to_endpoint
from mlxintro.grading.compatible.questions import CompatibleGrader
from mlxintro.grading.pair import agreed, grade_by_pair
from mlxintro.store.store import Store
from tests import cli
from tests.cli import ROOT, Result
from tests.grading_runs import expected, fields, graded, stored_run
from tests.messages_server import KEY, MessagesServer, serving

PRICES = Model(input=1.0, output=10.0)
ANSWER = (1000 * 1.0 + 90 * 10.0) / 1e6


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MessagesServer]:
    with serving() as running:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield running


def grade(
    server: MessagesServer,
    path: Path,
    run: str,
    *,
    budget: float | None = None,
    concurrency: int = 4,
    retry: bool = False,
) -> Report:
    with Store(path) as store, closing(open_client(f"{server.url}/v1")) as client:
        job = ClaudePass(store, store.runs.find(run), CompatibleGrader("judge-1"), Tariff(PRICES), budget)
        with job.alone():
            dossiers = job.open_dossiers(only_failed=retry)
            run_live(job, client, dossiers, put=put_to_endpoint, concurrency=concurrency)
        return job.report


def test_every_reply_gets_the_grade_a_person_would_give_and_none_is_paid_twice(
    server: MessagesServer, tmp_path: Path
) -> None:
    path = tmp_path / "s.db"
    run = stored_run(path, 48)
    report = grade(server, path, run)
    assert (report.graded, report.failed, report.left) == (48, 0, 0)
    assert grade(server, path, run) == Report(skipped=48)
    with Store(path) as store:
        assert {n: fields(g) for n, g in graded(store, run, "openai").items()} == {n: expected(n) for n in range(48)}
        assert store.calls.spent(run, "openai") == pytest.approx(len(server.paid) * ANSWER)
    assert max(Counter((asked.question, asked.reply) for asked in server.paid).values()) == 1


def test_the_judge_is_blind_and_the_reply_stands_between_marks_of_its_own(
    server: MessagesServer, tmp_path: Path
) -> None:
    run = stored_run(tmp_path / "s.db", 16)
    grade(server, tmp_path / "s.db", run)
    for asked in server.paid:
        assert (asked.concept is None) == (asked.question == "stance")
        assert not re.search(r"injected\"|strength|layer", str(asked.params["messages"][-1]["content"]))


@pytest.mark.parametrize("fault", ["429", "500", "503", "drop", "truncate", "damage", "negative", "fenced", "thinking"])
def test_a_fault_that_passes_costs_no_grade_and_invents_none(
    server: MessagesServer, tmp_path: Path, fault: str
) -> None:
    path = tmp_path / "s.db"
    run = stored_run(path, 12)
    server.faults.extend([fault, "", fault, "", "", fault])
    report = grade(server, path, run)
    assert (report.graded, report.failed, report.left) == (12, 0, 0)
    with Store(path) as store:
        assert {n: fields(g) for n, g in graded(store, run, "openai").items()} == {n: expected(n) for n in range(12)}
        assert store.calls.spent(run, "openai") >= len(server.paid) * ANSWER - 1e-12


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("refusal", "refused"), ("schema", "affirms|identifies"), ("max_tokens", "cut off"), ("400", "HTTP 400")],
)
def test_a_question_without_a_verdict_leaves_the_trial_unscored_until_it_is_retried(
    server: MessagesServer, tmp_path: Path, fault: str, reason: str
) -> None:
    path = tmp_path / "s.db"
    run = stored_run(path, 9)
    server.faults.extend(["", "", fault])
    assert (grade(server, path, run, concurrency=1).failed) == 1
    with Store(path) as store:
        bad = [g for g in graded(store, run, "openai").values() if g.state == "unscored"]
    assert len(bad) == 1
    assert re.search(reason, bad[0].reason)
    assert grade(server, path, run, retry=True).graded == 1


@pytest.mark.parametrize("fault", ["", "drop", "no usage"])
def test_the_budget_is_never_exceeded(server: MessagesServer, tmp_path: Path, fault: str) -> None:
    path = tmp_path / "s.db"
    run = stored_run(path, 40)
    server.faults.extend([fault] * 6)
    budget = 0.08
    report = grade(server, path, run, budget=budget)
    assert report.left
    assert "raise --budget" in report.stopped
    with Store(path) as store:
        assert len(server.paid) * ANSWER - 1e-9 <= store.calls.spent(run, "openai") <= budget


def test_a_redirect_is_not_followed_and_takes_nothing_along(server: MessagesServer, tmp_path: Path) -> None:
    run = stored_run(tmp_path / "s.db", 4)
    with serving() as elsewhere:
        server.elsewhere = f"{elsewhere.url}/v1/chat/completions"
        server.faults.extend(["redirect"] * 4)
        with pytest.raises(KnownError, match="redirects elsewhere"):
            grade(server, tmp_path / "s.db", run)
        assert elsewhere.seen == []


def test_an_answer_that_drips_ends_when_the_attempts_time_is_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
                for _ in range(100):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        with open_http(0.5) as client, pytest.raises(httpx2.ReadTimeout):
            client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        assert time.monotonic() - began < 2


def test_a_wrong_key_stops_the_pass_and_is_never_shown(
    server: MessagesServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stored_run(tmp_path / "s.db", 4)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-123")
    with pytest.raises(KnownError, match="OPENAI_API_KEY") as stopped:
        grade(server, tmp_path / "s.db", run)
    assert "sk-wrong-123" not in str(stopped.value)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(PrerequisiteError, match="OPENAI_API_KEY"):
        open_client("https://openrouter.ai/api/v1")
    with pytest.raises(UsageError, match="no address"):
        open_client("localhost:11434")


def test_only_endpoints_of_ones_own_cost_nothing() -> None:
    assert is_local("http://localhost:11434/v1")
    assert is_local("http://192.168.1.7:8000/v1")
    assert not is_local("https://openrouter.ai/api/v1")
    assert not is_local("https://localhost.example.com/v1")


def test_no_budget_is_endless_and_no_usage_negative() -> None:
    for endless in (float("inf"), float("nan"), -1.0):
        with pytest.raises(UsageError):
            Budget(endless)
    with pytest.raises(ValueError, match="input_tokens"):
        Usage(input_tokens=-1, output_tokens=1)


def test_from_the_command_line(server: MessagesServer, tmp_path: Path) -> None:
    stored_run(tmp_path / "mlxintro.db", 12)

    def mlxintro(*arguments: str) -> Result:
        return cli.mlxintro(tmp_path, *arguments, OPENAI_API_KEY=KEY)

    asked = ("--base-url", f"{server.url}/v1", "--model", "judge-1")
    assert mlxintro("grade", "rules", "r").code == 0
    done = mlxintro("grade", "openai", "r", *asked)
    assert done.code == 0, done.err
    assert "12 graded" in done.err
    assert "a local endpoint" in done.err
    assert mlxintro("grade", "r", "--grader", "openai", *asked).code == 0
    both = mlxintro("grade", "pair", "r", "--of", "rules,openai")
    assert both.code == 0, both.err
    assert "settled by rules+openai" in both.err
    stats = mlxintro("stats", "r", "--grader", "rules+openai")
    assert stats.code == 0, stats.err
    assert re.search(r"arm +open +incoherent +refused", stats.out)
    for wrong in (("--budget", "inf"), ("--budget", "nan"), ("--again", "--retry")):
        assert mlxintro("grade", "openai", "r", *asked, *wrong).code == 2
    assert mlxintro("grade", "openai", "r", "--model", "judge-1").code == 2


def test_a_pair_settles_what_both_say_and_leaves_open_what_they_differ_on(tmp_path: Path) -> None:
    yes = Grade(True, True, False, True, False)
    no = Grade(False, None, None, True, False)
    garbled = Grade(None, False, None, False, None)
    assert agreed(yes, yes).detects is True
    assert agreed(yes, yes).abstained is False
    assert agreed(garbled, garbled).abstained is False
    for one, other in ((yes, no), (no, yes), (yes, garbled), (garbled, no)):
        assert agreed(one, other).abstained is True
    run = stored_run(tmp_path / "s.db", 4)
    with Store(tmp_path / "s.db") as store, pytest.raises(UsageError, match="has not graded"):
        grade_by_pair(store, store.runs.find(run), "rules", "openai")


def test_ones_own_rubric_is_asked_and_makes_another_version(tmp_path: Path) -> None:
    shipped = Path(ROOT) / "mlxintro" / "data" / "rubric.toml"
    own = tmp_path / "own.toml"
    own.write_text(shipped.read_text("utf-8").replace("Say three things", "Say three plain things"), "utf-8")

    def choose() -> tuple[str, str]:
        rubric.use(own)
        grader = CompatibleGrader("judge-1")
        from mlxintro.grading.claude.questions import Dossier

        return grader.version, str(grader.request(Dossier("k", "Yes.", None), "stance"))

    before = CompatibleGrader("judge-1").version
    version, request = contextvars.copy_context().run(choose)
    assert version != before
    assert "Say three plain things" in request
    assert CompatibleGrader("judge-1").version == before
    for text, said in (("frame = 1", "frame"), ("x = ", "not TOML"), (own.read_text().replace("{tag}", ""), "marks")):
        own.write_text(text, "utf-8")
        with pytest.raises(UsageError, match=said):
            contextvars.copy_context().run(choose)


def test_the_local_judge_says_how_long_it_will_take(tmp_path: Path) -> None:
    stored_run(tmp_path / "mlxintro.db", 12)
    done = cli.mlxintro(tmp_path, "grade", "local", "r", "--judge", "detector", "--judge-backend", "fake")
    assert done.code == 0, done.err
    assert re.search(r"12 replies at about \d+\.\d s each: about \d+(\.\d)? s", done.err)


def test_people_are_shown_only_what_a_grader_left_open(tmp_path: Path) -> None:
    stored_run(tmp_path / "mlxintro.db", 16)

    def mlxintro(*arguments: str, keys: str = "") -> Result:
        return cli.mlxintro(tmp_path, *arguments, stdin=keys)

    assert mlxintro("grade", "rules", "r").code == 0
    with Store(tmp_path / "mlxintro.db") as store:
        found = store.grades.latest(store.runs.find("r").id, grader="rules")
    left_open = sum(one.abstained for one in found)
    shown = mlxintro("label", "r", "--open", "rules", keys="q")
    if left_open:
        assert f"0 of {left_open} labelled" in shown.err, shown.err
    else:
        assert "left no reply" in shown.err
    assert mlxintro("label", "r", "--open", "nobody", keys="q").code == 2
