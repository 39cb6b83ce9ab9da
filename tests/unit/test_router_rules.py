from __future__ import annotations

import time
from pathlib import Path

import pytest

import router
from contracts.errors import FatalError
from router.masters import Masters
from router.rules import Rules

FOLDER = Path(router.__file__).parent
MASTERS = Masters.parse(
    'fallback = "c"\n'
    + "".join(f'[[master]]\nname = "{name}"\ndescription = "x"\n' for name in "abc")
)
SMALL = """
temperature = 10.0
[[rule]]
master = "a"
weight = 20
words = ["test", "vulnerability", "plan"]
phrases = ["sql injection", "man in the middle"]
[[rule]]
master = "b"
weight = 20
words = ["über", "planning", "cache"]
patterns = ['\\bCVE-\\d{4}-\\d+\\b']
[[rule]]
master = "b"
weight = -20
words = ["not"]
"""


def small() -> Rules:
    return Rules.parse(SMALL, MASTERS)


def shipped() -> Rules:
    masters = Masters.parse((FOLDER / "masters.toml").read_text("utf-8"))
    return Rules.parse((FOLDER / "rules.toml").read_text("utf-8"), masters)


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("test", ("test",)),
        ("TESTS, tested; testing: a test", ("test",)),
        ("snake_test_case", ("test",)),
        ("contest testy", ()),
        ("Vulnerabilities", ("vulnerability",)),
        ("plan planned planning", ("plan", "planning")),
        ("SQL-Injections", ("sql injection",)),
        ("sql  injection", ("sql injection",)),
        ("sql and injection", ()),
        ("sql", ()),
        ("a man in the middle", ("man in the middle",)),
        ("a man in the midday middle", ()),
        ("men in the middle, man in the", ()),
        ("ÜBER das Buch", ("über",)),
        ("see cve-2024-3094.", (r"\bCVE-\d{4}-\d+\b",)),
        ("xcve-2024-3094", ()),
        ("\ud800 test \x00", ("test",)),
        ("", ()),
    ],
)
def test_finds_terms_in_any_form_but_only_whole(text: str, matched: tuple[str, ...]) -> None:
    assert small().explain(text) == matched


def test_inflections_of_every_kind() -> None:
    text = """temperature = 1.0
    [[rule]]
    master = "a"
    weight = 1
    words = ["cache", "pin", "retry", "deploy", "fix", "push", "process", "ci"]
    """
    rules = Rules.parse(text, MASTERS)
    forms = {
        "cache": "caches cached caching",
        "pin": "pins pinned pinning",
        "retry": "retries retried retrying",
        "deploy": "deploys deployed deploying",
        "fix": "fixes fixed fixing",
        "push": "pushes pushed pushing",
        "process": "processes processed processing",
        "ci": "ci",
    }
    for word, inflected in forms.items():
        for form in inflected.split():
            assert rules.explain(form) == (word,), form
    assert rules.explain("cis") == ()


def test_scores_are_a_softmax_of_the_sums() -> None:
    score = small().score("test the cache, plan the vulnerability")
    assert score.selected == "a"
    assert score.scores == pytest.approx({"a": 0.9796, "b": 0.0179, "c": 0.0024}, abs=1e-4)
    assert score.confidence == score.scores["a"]


def test_a_negative_weight_speaks_against_a_master() -> None:
    assert small().score("cache").selected == "b"
    assert small().score("not cache").selected == "c"


@pytest.mark.parametrize("text", ["", "nothing of note", "test the cache", "not"])
def test_ties_and_nothing_matched_go_to_the_fallback(text: str) -> None:
    score = small().score(text)
    assert score.selected == "c"
    assert score.confidence == score.scores["c"]


def test_results_share_nothing_that_can_be_changed() -> None:
    rules = small()
    rules.score("test").scores.clear()
    assert sum(rules.score("test").scores.values()) == pytest.approx(1)


def test_version_follows_the_meaning_not_the_wording() -> None:
    version = small().version
    assert version == Rules.parse(f"# a comment\n{SMALL}", MASTERS).version
    assert version != Rules.parse(SMALL.replace("= 20", "= 21"), MASTERS).version
    assert version != Rules.parse(SMALL.replace("10.0", "11.0"), MASTERS).version


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("temperature = 10.0", "temperature = 0.0", "> 0"),
        ("temperature = 10.0", "", "missing required field `temperature`"),
        ("temperature = 10.0", "temperature =", "rules: "),
        ('master = "a"', 'master = "z"', "'z' is none of a, b, c"),
        ("weight = 20", "weight = 2.5", "Expected `int`"),
        ("weight = 20", "weight = 20\nwait = 1", "unknown field `wait`"),
        ('"test", ', '"test", "test", ', "'test' stands under a more than once"),
        ('"test", ', '"Test", ', "'Test' must be lower-case words"),
        ('"test", ', '"c++", ', "'c++' must be lower-case words"),
        ('"test", ', '"", ', "'' must be lower-case words"),
        ('"test", ', '"a test", ', "'a test' is more than one word"),
        ('"sql injection"', '"sql"', "'sql' is one word"),
        (r"\d{4}-\d+\b", r"\d{4}-(\d+\b", "missing )"),
        ("-\\d{4}", "(?=-)", "invalid"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(old: str, new: str, complaint: str) -> None:
    assert old in SMALL
    with pytest.raises(FatalError, match="rules: ") as caught:
        Rules.parse(SMALL.replace(old, new, 1), MASTERS)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "master"),
    [
        ("Fix the authentication bug", "security-master"),
        ("Triage CVE-2024-3094", "security-master"),
        ("Escape user input, the comment form allows stored XSS", "security-master"),
        ("Bump requests from 2.31.0 to 2.32.3", "inventory-master"),
        ("Document the new environment variables in the README", "inventory-master"),
        ("Add an integration test for the export job", "cicd-master"),
        ("Cache downloads in the GitHub Actions workflow", "cicd-master"),
        ("ci: run on arm64 too", "cicd-master"),
        ("Draft the roadmap for the next quarter", "coordinator-master"),
        ("Nominate two new maintainers for the storage group", "coordinator-master"),
        ("The settings page crashes when the profile has no avatar", "development-master"),
        ("Refactor the payment client into smaller functions", "development-master"),
        ("hello there", "coordinator-master"),
    ],
)
def test_the_shipped_rules_on_plain_cases(text: str, master: str) -> None:
    assert shipped().score(text).selected == master


def test_the_longest_descriptions_take_bounded_time() -> None:
    rules = shipped()
    hostile = [
        "a" * 8192,
        "sql " * 2048,
        "man in the " * 744,
        "CVE-" * 2048,
        "from 1.1.1.1.1.1 " * 481,
        "(" * 8192,
        "_" * 8192,
        "ẞ" * 8192,
        " ".join(rules.score("").scores) * 80,
        "\n".join(" ".join(text) for text in rules._vocabulary.phrases)[:8192],
    ]
    for text in hostile:
        start = time.process_time()
        rules.score(text[:8192])
        assert time.process_time() - start < 0.1, text[:20]
