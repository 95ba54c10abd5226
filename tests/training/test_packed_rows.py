"""Rows are dealt to passes by their real tokens, and packed without padding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Later

torch = Later("torch")
dealing = Later("axolotl_grpo_plugin.training.packed_step.dealing")
layouts = Later("axolotl_grpo_plugin.training.packed_step.layout")

rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=12)
PROMPTS = (4, 7, 1, 5)  # tokens of each prompt


def sizes_of(pairs):
    return [dealing.Size(prompt, PROMPTS[prompt], tokens) for prompt, tokens in pairs]


@given(rows, st.integers(1, 5), st.integers(0, 40), st.integers(1, 3))
def test_deals_each_row_to_one_pass(pairs, passes, budget, ranks):
    dealt = dealing.deal(range(len(pairs)), sizes_of(pairs), passes, budget, ranks)
    assert len(dealt) == passes * ranks
    assert sorted(row for part in dealt for row in part) == list(range(len(pairs)))


@given(rows, st.integers(1, 5), st.integers(1, 60))
def test_pass_is_above_the_budget_only_if_all_passes_are_used(pairs, passes, budget):
    sizes = sizes_of(pairs)
    dealt = dealing.deal(range(len(pairs)), sizes, passes, budget)
    tokens = [dealing.tokens_of(part, sizes) for part in dealt]
    assert tokens == sorted(tokens, reverse=True)
    order = sorted(range(len(pairs)), key=lambda row: (pairs[row][0], -pairs[row][1]))
    count = -(-len(order) // passes)
    chunks = [order[start : start + count] for start in range(0, len(order), count)]
    largest_row = max(size.prompt_tokens + size.completion_tokens for size in sizes)
    assert tokens[0] <= max(budget, largest_row, *(dealing.tokens_of(chunk, sizes) for chunk in chunks))


def test_completions_of_a_prompt_share_it():
    sizes = sizes_of([(0, 3), (1, 3), (0, 3), (1, 3)])
    assert sorted(map(sorted, dealing.deal(range(4), sizes, 2, budget=13))) == [[0, 2], [1, 3]]
    assert dealing.tokens_of([0, 2], sizes) == 4 + 3 + 3


def test_fills_few_passes_within_the_budget():
    sizes = sizes_of([(0, 3), (0, 3), (0, 3), (0, 3)])
    used = [sum(map(bool, dealing.deal(range(4), sizes, 4, budget))) for budget in (16, 15, 10, 7, 1)]
    assert used == [1, 2, 2, 4, 4]
    # Each of two ranks gets a pass, although one would fit.
    assert sum(map(bool, dealing.deal(range(4), sizes, 4, 16, ranks=2))) == 2


def test_ranks_get_equally_many_passes_of_like_size():
    passes = [[number] for number in range(8)]  # the largest first
    first, second = (dealing.passes_of_rank(passes, 2, rank) for rank in (0, 1))
    assert first == [[0], [3], [4], [7]]
    assert second == [[1], [2], [5], [6]]


def layout_of(prompts, completions, owners, padding=2):
    """Pack lists of token ids, padded as TRL pads them."""

    def padded(lists, left):
        width = max(map(len, lists), default=0) + padding
        ids, mask = torch.zeros(len(lists), width, dtype=torch.long), torch.zeros(len(lists), width, dtype=torch.long)
        for row, tokens in enumerate(lists):
            start = width - len(tokens) if left else 0
            ids[row, start : start + len(tokens)] = torch.tensor(tokens)
            mask[row, start : start + len(tokens)] = 1
        return ids, mask

    return layouts.Layout(*padded(prompts, True), *padded(completions, False), torch.tensor(owners))


def test_packs_prompts_once_and_longer_completions_first():
    layout = layout_of([[10, 11, 12], [20, 21]], [[1], [2, 3, 4], [5, 6]], [1, 0, 1])
    assert layout.input_ids.tolist() == [[10, 11, 12, 20, 21, 2, 3, 4, 5, 6, 1]]
    assert layout.positions.tolist() == [[0, 1, 2, 0, 1, 3, 4, 5, 2, 3, 2]]
    assert layout.targets.tolist() == [2, 3, 4, 5, 6, 1]
    assert layout.input_ids[0, layout.before].tolist() == [12, 2, 3, 21, 5, 21]


def test_unpacks_values_to_the_rows_of_the_batch():
    layout = layout_of([[10, 11], [20]], [[1], [2, 3, 4], []], [1, 0, 1])
    assert layout.unpacked(layout.targets.float() + 0.5).tolist() == [
        [1.5, 0, 0, 0, 0],
        [2.5, 3.5, 4.5, 0, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("window", (None, 3))
def test_token_sees_its_own_prompt_and_the_tokens_before_it(window):
    layout = layout_of([[10, 11, 12], [20, 21]], [[1, 2], [3], [4, 5, 6, 7]], [1, 0, 0])
    seen = {}
    for number, tile in enumerate(layout.tiles):
        mask = layout.mask(number, window)[:, 0]
        for row, query in (divmod(entry, tile.queries.shape[1]) for entry in tile.query_entries.tolist()):
            keys = layout.input_ids[0, tile.keys[row][mask[row, query]]].tolist()
            seen[layout.input_ids[0, tile.queries[row, query]].item()] = keys
    texts = ([20, 21, 1, 2], [10, 11, 12, 3], [10, 11, 12, 4, 5, 6, 7])
    for text in texts:
        for number, token in enumerate(text, 1):
            assert seen[token] == (text[:number] if window is None else text[max(number - window, 0) : number])


def test_tiles_have_rows_of_like_length():
    completions = [list(range(1, 1 + length)) for length in (40, 38, 10, 9, 1)]
    layout = layout_of([[7, 8]], completions, [0] * 5)
    assert [tuple(tile.queries.shape) for tile in layout.tiles] == [(1, 2), (2, 40), (2, 10), (1, 1)]


def test_masks_of_long_rows_stay_small(monkeypatch):
    monkeypatch.setattr("axolotl_grpo_plugin.training.packed_step.layout._MASK_ELEMENTS", 3 * 8 * 10)
    layout = layout_of([[7, 8]], [list(range(1, 9))] * 5, [0] * 5)
    assert [len(tile.queries) for tile in layout.tiles] == [1, 3, 2]


def test_row_without_completion_has_its_prompt_only():
    layout = layout_of([[7, 8]], [[]], [0])
    assert layout.tokens == 2 and len(layout.targets) == 0
    assert layout.unpacked(torch.zeros(0)).tolist() == [[0.0, 0.0]]
