"""The loop that computes fewer tokens, against transformers' own loop: equal answers, and less work."""

from collections import Counter
from unittest import mock

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.evaluate.answers import AnswerJob
from axolotl_grpo_plugin.evaluate.models import Model
from axolotl_grpo_plugin.evaluate.rows import Question
from axolotl_grpo_plugin.evaluate.sampling import Sampling
from tests.conftest import MODEL, Later

torch, transformers = Later("torch"), Later("transformers")
fewer, local = Later("axolotl_grpo_plugin.training.fewer_tokens"), Later("axolotl_grpo_plugin.evaluate.local")

PAD, WIDTH = 0, 12
ENDS = [*range(2, 12)]  # so many end tokens that a random model soon writes one
GREEDY = {"max_new_tokens": 20, "do_sample": False, "pad_token_id": PAD, "eos_token_id": ENDS}
SMALL = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2}
HEADS = SMALL | {"intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
STATES = HEADS | {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8}


def random_model(name="Qwen3", shape=HEADS):
    """Return a model with large random weights, so that its prompts get different answers."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**shape, pad_token_id=PAD, eos_token_id=2)
    made = transformers.AutoModelForCausalLM.from_config(config).eval()
    for weights in made.parameters():
        weights.data.mul_(3 if weights.dim() > 1 else 1)
    return made


@pytest.fixture
def batch():
    """Return 4 prompts with 3 rows each. Two have the same tokens, of which one has masked some."""
    ids = torch.randint(12, 64, (4, WIDTH), generator=torch.Generator().manual_seed(0))
    ids[1] = ids[0]
    masks = torch.ones_like(ids)
    masks[1:3, :5] = 0
    return {"input_ids": ids.repeat(3, 1), "attention_mask": masks.repeat(3, 1)}


def both(model, batch, settings):
    """Return the answers of transformers' own loop and of ours, then the rows of each forward pass of both."""
    outputs, rows = [], []

    def count(model, arguments, given):
        rows[-1].append(len(given.get("input_ids", ())))

    model.register_forward_pre_hook(count, with_kwargs=True)
    for loop in (None, fewer.generate_fewer_tokens):
        rows.append([])
        outputs.append(model.generate(**batch, **settings, custom_generate=loop))
    return *outputs, *rows


@pytest.mark.parametrize("more", [{}, {"repetition_penalty": 1.3}])
@pytest.mark.parametrize("name, shape", [("Qwen3", HEADS), ("Gemma2", HEADS | {"sliding_window": 5})])
def test_each_distinct_prompt_is_read_once_and_ended_rows_leave(name, shape, more, batch):
    own, ours, _, rows = both(random_model(name, shape), batch, GREEDY | more)
    assert torch.equal(own, ours)
    running = (own[:, WIDTH:] != PAD).sum(dim=0).tolist()
    assert rows == [4, *running[1:]] and running[-1] < 12


@pytest.mark.parametrize(
    "name, shape, more",
    [
        ("Mamba", SMALL, {}),
        ("FalconH1", STATES, {}),  # each of its layers has attention and a state space
        ("Qwen3", HEADS, {"cache_implementation": "static"}),
        ("Qwen3", HEADS, {"num_beams": 2}),
        ("Qwen3", HEADS, {"guidance_scale": 1.5}),
    ],
)
def test_transformers_own_loop_runs_if_rows_cannot_leave(name, shape, more, batch):
    own, ours, own_rows, rows = both(random_model(name, shape), batch, GREEDY | more)
    assert torch.equal(own, ours)
    assert rows == own_rows


def test_images_stay_with_transformers_own_loop():
    cache = transformers.DynamicCache(config=transformers.Qwen3Config(**HEADS))
    inputs = {"past_key_values": cache, "pixel_values": torch.ones(2, 3, 8, 8)}
    assert not fewer._can_select(inputs, torch.Size([2, 5]))


def test_ranks_that_share_weights_use_transformers_synced_loop(batch, monkeypatch):
    monkeypatch.setattr("axolotl_grpo_plugin.training.fewer_tokens.is_deepspeed_zero3_enabled", lambda: True)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    with mock.patch.object(torch.distributed, "all_reduce", wraps=torch.distributed.all_reduce) as synced:
        *_, own_rows, rows = both(random_model(), batch, GREEDY)
    torch.distributed.destroy_process_group()
    assert rows == own_rows
    assert synced.call_count == len(rows) + 1


def test_samples_have_the_law_of_the_model(batch):
    from scipy.stats import chi2_contingency

    many = {"input_ids": batch["input_ids"].repeat(250, 1)}
    sampling = {"do_sample": True, "top_k": 4, "temperature": 4.0, "max_new_tokens": 2}
    outputs = both(random_model(), many, GREEDY | sampling)[:2]
    counts = [Counter(map(tuple, output.tolist())) for output in outputs]
    often = [row for row, count in counts[0].items() if count >= 20]
    assert len(often) > 10
    table = [list(map(count.__getitem__, often)) for count in counts]
    assert chi2_contingency(table).pvalue > 0.01


END = 2  # the model's end token


@pytest.mark.parametrize("bf16, precision", [(True, "bfloat16"), ("auto", "float32"), (None, "float32")])
def test_cpu_answers_in_bf16_if_the_config_trains_in_it(monkeypatch, bf16, precision):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert local.LocalBackend(Config({"bf16": bf16}), None).engine == f"transformers {precision}"


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(top_k=9, top_p=0.8, min_p=0.05, temperature=1.4, ends=(END,)),
        Sampling(repetition_penalty=1.2, stop=("answer>\n", "1 "), ends=(END,)),
    ],
)
def test_stored_answers_are_those_of_transformers_own_loop(sampling, monkeypatch):
    backend = local.LocalBackend(Config({}), transformers.AutoTokenizer.from_pretrained(MODEL))
    loaded = Model("base", MODEL, None, 0, "digest", {})
    backend.load(loaded)
    jobs = []
    for number in range(30):
        question = Question("", 0, {}, {}, "", [*range(40, 60 - number // 10)])
        jobs.append(AnswerJob.of(loaded, question, sampling, number, "cpu"))
    ours = backend._completions(jobs)
    generate = backend._model.generate
    monkeypatch.setattr(backend._model, "generate", lambda custom_generate, **given: generate(**given))
    assert ours == backend._completions(jobs)
    assert len({*map(len, ours)}) > 3
