import json
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axolotl_grpo_plugin.reward import Score
from axolotl_grpo_plugin.rewards import gym
from axolotl_grpo_plugin.rewards.gym import gym_reward_func
from axolotl_grpo_plugin.sandbox import Limits, Sandbox
from tests.conftest import ROOT

WITHOUT_A_SOLUTION = {"boxnet", "rush_hour"}  # reasoning-gym has no solution


@pytest.fixture(scope="module", autouse=True)
def sandbox():
    """Give the scorers a second, because one answer never ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gym, "_LIMITS", Limits(seconds=1.0))
        yield
        gym._sandbox(False, os.getpid()).close()
        gym._sandbox.cache_clear()


def test_shipped_held_out_tasks_begin_after_the_training_seeds():
    tasks, held_out = (
        {task["task"]: task for task in map(json.loads, (ROOT / "configs" / "gym" / f"{name}.jsonl").open())}
        for name in ("tasks", "held_out")
    )
    assert tasks.keys() == held_out.keys()
    assert all(held_out[name]["seed"] >= task["seed"] + task["size"] for name, task in tasks.items())


def entry(task, answer, **metadata):
    return {"question": "?", "answer": answer, "metadata": {"source_dataset": task, **metadata}}


def score(said, problem, tagged=True, **options):
    completion = f"<think>\nhm\n</think>\n<answer>{said}</answer>" if tagged else said
    made = gym_reward_func.bind(**options) if options else gym_reward_func
    return made.score(completion, entry=json.dumps(problem))


SUM = entry("chain_sum", "-4")
COUNTDOWN = entry("countdown", "2*3 + 4", numbers=[2, 3, 4], target=10)
PUZZLE24 = entry("puzzle24", "8*(5*1 - 2)", numbers=[8, 5, 1, 2])
POLYNOMIAL = entry("polynomial_multiplication", "x**2 + 3*x + 2")
INTEGRAL = entry("simple_integration", "X**2 + C", integrand="2*X", variable="X", expected_answer="")
MATRIX = entry("binary_matrix", "0 1\n1 2")
INSERTION = entry("string_insertion", "ABCD")
QUEENS = entry("n_queens", "_ Q\nQ _", valid_answers=["_ Q\nQ _", "Q _\n_ Q"])
COMPLEX = entry("complex_arithmetic", "3.0 - 4.0i", result=[3, -4])
HALTING = entry("game_of_life_halting", "True")
COIN = entry("coin_flip", "0.109375")
GSM = entry("gsm_symbolic", "20")

CASES = [
    ("-4", SUM, 1.0, "correct", "the gold answer"),
    ("  -4\n", SUM, 1.0, "correct", "outer whitespace is not content"),
    ("-40", SUM, 0.0, "wrong", "the base class pays 0.667 for a substring"),
    ("x-4", SUM, 0.0, "wrong", "the same"),
    ("-4 or 4", SUM, 0.0, "wrong", "a hedge"),
    ("4", SUM, 0.0, "wrong", "another number"),
    ("", SUM, 0.0, "empty_answer", "nothing"),
    ("...", SUM, 0.0, "empty_answer", "the prompt's own placeholder"),
    ("1" * 20_000, SUM, 0.0, "too_long", "no answer is so long"),
    ("(3 * 2) + 4", COUNTDOWN, 1.0, "correct", "any expression that does it"),
    ("4 + 6", COUNTDOWN, 0.0, "wrong", "a number that is not given"),
    ("2 * 3 + 4 # 10", COUNTDOWN, 0.0, "wrong", "no expression"),
    ("10", COUNTDOWN, 0.0, "wrong", "the target itself"),
    ("9**9**9**9", COUNTDOWN, 0.0, "wrong", "is not worked out"),
    ("6*4*1*1", PUZZLE24, 0.0, "wrong", "24 of other numbers, which its scorer pays in full"),
    ("8*(5 - 2)*1", PUZZLE24, 1.0, "correct", "24 of the given ones"),
    ("(x + 1)*(x + 2)", POLYNOMIAL, 0.0, "wrong", "not multiplied"),
    ("2 + x**2 + 3*x", POLYNOMIAL, 1.0, "correct", "another order"),
    ("X**2", INTEGRAL, 1.0, "correct", "without the constant, as its scorer has it"),
    ("X**2 or 0", INTEGRAL, 0.0, "not_plain", "Python's `or`, a hedge that the scorer pays"),
    ("9**9**9**9", INTEGRAL, 0.0, "time_limit", "never ends"),
    ("[[0, 1], [1, 2]]", MATRIX, 0.0, "wrong", "another form: its scorer pays a part"),
    ("0 1\n1 3", MATRIX, 0.0, "wrong", "another matrix"),
    ("Q _\n_ Q", QUEENS, 1.0, "correct", "another board that is right"),
    ("3 - 4i", COMPLEX, 1.0, "correct", "the same number"),
    ("nan", COMPLEX, 0.0, "not_plain", "nearest to everything, for its scorer"),
    ("1+nani", COMPLEX, 0.0, "not_plain", "the same"),
    ("anything", HALTING, 0.0, "wrong", "any text is true, for its scorer"),
    ("False", HALTING, 0.0, "wrong", "the other one"),
    ("0", COIN, 0.0, "wrong", "a first digit is enough for its scorer"),
    ("0/1", COIN, 0.0, "wrong", "the same"),
    ("0.1093750", COIN, 1.0, "correct", "the same number"),
    ("7/64", COIN, 1.0, "correct", "as a fraction"),
    ("7/0", COIN, 0.0, "wrong", "no number"),
    ("0.11", COIN, 0.0, "wrong", "rounded"),
    ("-20", GSM, 0.0, "wrong", "its scorer does not see the sign"),
    ("20 or 30", GSM, 0.0, "wrong", "its scorer takes the first"),
    ("$20", GSM, 1.0, "correct", "the same number"),
]


# Scorers that skip text: an answer, and the same with more text. The scorer gives full credit to both.
DAYS = entry("time_intervals", "34 days", task_type="date")
CLOCK = entry("time_intervals", "03:22:03", task_type="time_seconds")
SPAN = entry("time_intervals", "18 days, 21:21", task_type="datetime")
FRACTION = entry(
    "fraction_simplification",
    r"$\frac{4}{7}$",
    simplified_numerator=4,
    simplified_denominator=7,
    numerator=8,
    denominator=14,
)
BACKWARD = entry("spell_backward", "ekilxesnu")
SORTED = entry("word_sorting", "a, b, c", sorted_words=["a", "b", "c"])
JUMBLE = entry("letter_jumble", "let it be")
KNAVES = entry("knights_knaves", "Liam is a knight, and Ella is a knave.")
ORTHOCENTER = entry("advanced_geometry", "(7.234, -4.131)", task_type="orthocenter", ortho=["7.234", "-4.131"])
ROOTS = entry("polynomial_equations", "-0.5314, 0.0")
NO_ROOTS = entry("polynomial_equations", "")
POOL = entry("pool_matrix", "9 7\n8 8")
LOGIC = entry("propositional_logic", "(R ∧ Q)", variables=["Q", "R"], premises=["R", "Q"])
KAKURASU = entry("kakurasu", "1 0\n0 1", row_sums=[1, 2], col_sums=[1, 2], n_rows=2, n_cols=2)
SURVO = entry("survo", "1 2\n3 4", board_size=2, solution=[[1, 2], [3, 4]])
HANOI = entry(
    "tower_of_hanoi",
    "Move disk 1 from Peg 1 to Peg 3",
    num_disks=1,
    num_pegs=3,
    start_peg=1,
    target_peg=3,
    auxiliary_pegs=[2],
    solution_length=1,
)
MORE_TEXT = [
    ("34", "34 days or 35", DAYS),
    ("34", "34 days, 05:00", DAYS),
    ("34 days", "34 is it", DAYS),
    ("3:22:03", "03:22:03:99", CLOCK),
    ("18 days, 21:21:00", "18 days, 21:21, or 9", SPAN),
    ("4/7", r"$\frac{4}{7}$ or 5/7", FRACTION),
    (r"\dfrac{4}{7}", r"\frac{4}{7}8", FRACTION),
    ("EkilxesnU", "ekilxesnu or not", BACKWARD),
    ("ekilxesnu", "ekilxesnux", BACKWARD),
    ("a,b,c", "a, b, c, d", SORTED),
    ("LET it be", "let it be me", JUMBLE),
    ("Ella is a knave, Liam is a knight", f"{KNAVES['answer']} Or not.", KNAVES),
    ("(7.2340, -4.131)", "(7.234, -4.131), 7", ORTHOCENTER),
    ("0.0, -0.5314", "-0.5314, 0.0, or 5", ROOTS),
    ('""', "none", NO_ROOTS),
    ("9.0 7.0\n8 8", "9 7\n8 8 # or 5", POOL),
    ("R ∧ Q", "(R ∨ x Q)", LOGIC),
    ("10\n01", "1 0 hello\n0 1", KAKURASU),
    ("1  2\n3 4", "1 2\n3 4 and more", SURVO),
    ("Move disk 1 from Peg 1 to Peg 3\n", "xMove disk 1 from Peg 1 to Peg 3", HANOI),
]


@pytest.mark.parametrize(("said", "more", "problem"), MORE_TEXT)
def test_gold_answer_with_more_text_scores_zero(said, more, problem):
    assert score(said, problem)[:2] == (1.0, "correct")
    assert score(more, problem)[:2] == (0.0, "wrong")
    assert score(more, problem, partial=True)[:2] == (0.0, "wrong")


@pytest.mark.parametrize(("said", "problem"), [
    ("C → A or 5", entry("quantum_lock", "C → A")),
    ("U U 7", entry("rubiks_cube", "U U")),
    ("U maybe0", entry("rubiks_cube", "U")),
    ("UDLR and more", entry("sokoban", "UDLR")),
    ("A+1 or B-2", entry("rush_hour", None)),
])  # fmt: skip
def test_moves_with_more_text_score_zero(said, problem):
    assert gym_reward_func.quick(f"<answer>{said}</answer>", entry=problem)[:2] == (0.0, "wrong")
    assert gym_reward_func.quick("<answer>A+1, B-2</answer>", entry=entry("rush_hour", None)) is None


@pytest.mark.parametrize("task", sorted(gym._FORMS))
@pytest.mark.parametrize("piece", "1 . - + ( ) [ , : $ A \\ → U1 A+1 1.1".split())
def test_forms_take_linear_time(task, piece):
    text = piece * (gym.LONGEST_ANSWER // len(piece)) + "?"
    started = time.process_time()
    gym._is_whole(task, text, "1")
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize(("said", "problem", "value", "reason", "why"), CASES)
def test_contract(said, problem, value, reason, why):
    found = score(said, problem)
    assert found[:2] == (value, reason), why
    assert found.read == said.strip() or reason == "empty_answer"


@pytest.mark.parametrize(
    ("completion", "value", "reason"),
    [
        ("<answer>-4</answer>", 1.0, "correct"),
        ("<answer>1</answer><answer>-4</answer>", 1.0, "correct"),
        ("<answer>-4</answer><answer>1</answer>", 0.0, "wrong"),
        ("<think><answer>-4</answer></think>I don't know", 0.0, "no_answer_tag"),
        ("<think><answer>-4</answer></think><answer>5</answer>", 0.0, "wrong"),
        ("-4", 0.0, "no_answer_tag"),
        ("<think>hm</think><answer>-4", 0.0, "truncated"),
        ("", 0.0, "no_answer_tag"),
    ],
)
def test_finds_last_answer_after_reasoning(completion, value, reason):
    assert score(completion, SUM, tagged=False)[:2] == (value, reason)


# reasoning-gym 0.1.25 executes some of these answers: the first attack made the file.
@pytest.mark.parametrize("problem", [COUNTDOWN, PUZZLE24, POLYNOMIAL, INTEGRAL, MATRIX, INSERTION, QUEENS])
@pytest.mark.parametrize(
    "attack",
    [
        "__import__('os').system('touch {file}')",
        "[__import__('os').system('touch {file}')]",
        "(lambda: open('{file}', 'w'))()",
        "[open('{file}', 'w') for x in [1]]",
        "open('{file}', 'w')",
        "x.__class__.__base__.__subclasses__()",
        "sympify('open(1)')",
        "f'{{open(1)}}'",
        "[entry['answer']]",
        "oracle_answer",
        "entry",
        "[x for x in self]",
        "S('1')",
        "x . is_zero",
    ],
)
def test_answer_is_never_executed(tmp_path, problem, attack):
    file = tmp_path / "executed"
    found = score(attack.format(file=file), problem, partial=True)
    assert found.value == 0.0 and found.reason in ("not_plain", "wrong")
    if problem not in (COUNTDOWN, PUZZLE24):  # their scorers are never called
        assert found.reason == "not_plain"
    assert not file.exists()


def test_is_plain_accepts_formulas_and_refuses_code():
    for formula in ("-x*exp(x) + C", "sqrt(1 - 9*x**2)/3", "2.5*X", "log(x, 2)", "sin(x)cos(x)"):
        assert gym._is_plain("simple_integration", formula), formula
    for code in ("exec(x)", "x.real", "1 .real", "x_", "ｅｘｅｃ(x)", "x;x", "x[0]", "'x'", "é"):
        assert not gym._is_plain("simple_integration", code), code
    for data in ("[[0, -1.5]]", "['a', \"b\"]", "0 1\n1 0", "A B C", "_ Q _", "{'a': (1,)}", "\\d ["):
        assert gym._is_plain("spiral_matrix", data), data
    for code in ("answer", "[x]", "[1]*9", "f'{x}'", "print(1)", "1 if x else 2", "['\\d', x]"):
        assert not gym._is_plain("spiral_matrix", code), code


def test_invalid_escape_is_read_even_if_warnings_raise(recwarn):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not gym._is_plain("spiral_matrix", "['\\d', print(1)]")


@pytest.mark.parametrize(
    ("said", "problem", "value", "reason"),
    [
        ("[[0, 1], [1, 2]]", MATRIX, 0.1, "partial"),
        ("oracle_answer", INSERTION, 0.0, "not_plain"),
        ("['A', 'B', 'C', 'D']", INSERTION, 0.1, "partial"),
        ("-40", SUM, 0.0, "wrong"),
        ("3 - 3i", COMPLEX, pytest.approx(0.3679, abs=1e-4), "partial"),
        ("-4", SUM, 1.0, "correct"),
        ("?", entry("color_cube_rotation", "red"), 0.0, "wrong"),  # 0.01 for any text
        ("the red one", entry("color_cube_rotation", "red"), 0.0, "wrong"),  # a substring
        ("1+2", PUZZLE24, 0.0, "wrong"),  # 0.01 for None
    ],
)
def test_partial_credit(said, problem, value, reason):
    assert score(said, problem, partial=True)[:2] == (value, reason)
    if value != 1.0:
        assert score(said, problem).value == 0.0


@pytest.mark.parametrize(
    "problem",
    [
        "",
        "no JSON",
        "[1]",
        {"question": "?", "answer": "3"},
        entry("chain_sum", 3),
        {**SUM, "question": None},
        {**SUM, "metadata": {}},
        entry("no_such_task", "3"),
        entry("composite", "3"),
        {**entry("chain_sum", "3"), "config": {"no_such_option": 1}},
        entry("countdown", "1 + 2"),  # no numbers
        entry("word_ladder", "A,B"),  # its scorer also raises for the gold answer
    ],
    ids=str,
)
def test_unreadable_entry_scores_none(problem):
    said = problem if isinstance(problem, str) else json.dumps(problem)
    assert gym_reward_func.score("<answer>7</answer>", entry=said)[:2] == (None, "bad_gold")


def test_answer_that_makes_scorer_raise_is_wrong():
    factors = entry("prime_factorization", "2 × 3", number=6, factors=[2, 3])
    assert score("two and three", factors)[:2] == (0.0, "wrong")
    assert score("3 × 2", factors)[:2] == (1.0, "correct")


def test_generator_options_reach_scorer():
    """The tolerance depends on the number of digits of the problem."""
    problem = entry("decimal_arithmetic", "3.1416")
    assert score("3.14163", problem).value == 1.0
    assert score("3.14163", {**problem, "config": {"max_num_decimal_places": 6}}).value == 0.0


def test_ready(monkeypatch):
    gym_reward_func.ready()
    monkeypatch.setattr(gym, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"not installed. pip install reasoning-gym"):
        gym_reward_func.ready()


def test_exact_gold_answer_needs_no_sandbox(monkeypatch):
    def none(*_):
        raise AssertionError

    monkeypatch.setattr(Sandbox, "start", none)
    assert gym_reward_func.quick("<answer>-4</answer>", entry=SUM) == Score(1.0, "correct", "-4")
    assert gym_reward_func.quick("-4", entry=SUM) == Score(0.0, "no_answer_tag")
    assert gym_reward_func.quick("<answer>4</answer>", entry=SUM) is None


@settings(max_examples=200)
@given(st.text(max_size=60), st.sampled_from([COUNTDOWN, PUZZLE24, GSM, COIN, HALTING]))
def test_any_text_scores_in_range(text, problem):
    found = gym_reward_func.quick(f"<answer>{text}</answer>", entry=problem)
    assert found is not None and found.value in (0.0, 1.0)


@settings(max_examples=300)
@given(st.text(alphabet="xX1(). *+-_'\"[],=\\n", max_size=30))
def test_is_plain_accepts_any_text(text):
    for task in ("simple_integration", "spiral_matrix", "complex_arithmetic"):
        assert gym._is_plain(task, text) in (True, False)


SOLUTIONS = ("possible_answer", "example_answer", "example_correct_answer")


def gold(problem):
    """Return the gold answer, or one of several right answers."""
    answers = [problem["answer"], *(problem["metadata"].get(key) for key in SOLUTIONS)]
    answer = next(each for each in answers if each is not None)
    return answer if isinstance(answer, str) else json.dumps(answer)


def check_task(task, wrong=True):
    from reasoning_gym.factory import DATASETS, create_dataset

    problem = json.loads(json.dumps(create_dataset(task, size=1, seed=3)[0]))
    said = gold(problem)
    assert score(said, problem)[:2] == (1.0, "correct")
    if task not in (*gym._BY_VALUE, *gym._ARITHMETIC):
        # Call the scorer itself with an entry that went through JSON. `score` did not call it.
        fields = gym.read_entry(problem)._asdict()
        request = {"entry": fields, "answer": said, "partial": False}
        given, _ = gym._sandbox(False, os.getpid()).call(request)
        exact = DATASETS[task][0].score_answer is DATASETS["gcd"][0].score_answer
        assert given["score"] == (0.0 if exact else 1.0)
    if not wrong:
        return
    for other in ("wrong", "0.0123", "[]", "nan", "None"):
        assert score(other, problem).value == 0.0, other
    for more in (" or 5", ", x 7", ":99", "\nand so on", "x7", " # 7"):
        assert score(said + more, problem).value == 0.0, more
    for more in ("5 or ", "x", "so it is 7: "):
        assert score(more + said, problem).value == 0.0, more


SOME = "ab arc_agi chain_sum countdown gcd graph_color intermediate_integration jugs sudoku tower_of_hanoi".split()


@pytest.mark.every(3)
@pytest.mark.parametrize("task", SOME)
def test_gold_answers_earn_and_wrong_ones_do_not(task):
    check_task(task, wrong=task != "arc_agi")  # it loads its data again for each answer


@pytest.mark.slow
def test_every_task():
    from reasoning_gym.factory import DATASETS

    left = set(DATASETS) - WITHOUT_A_SOLUTION - {"composite"}
    assert len(left) == 103
    for task in sorted(left):
        check_task(task)
