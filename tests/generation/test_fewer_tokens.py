"""The loop that computes fewer tokens, against transformers' own loop: equal answers, and less work."""

from collections import Counter

import pytest

from axolotl_grpo_plugin.generation.answers import Job
from axolotl_grpo_plugin.generation.models import Model
from axolotl_grpo_plugin.generation.rows import Question
from axolotl_grpo_plugin.generation.sampling import Sampling
from tests.conftest import MODEL, Later

torch, transformers = Later("torch"), Later("transformers")
fewer, local = Later("axolotl_grpo_plugin.generation.fewer_tokens"), Later("axolotl_grpo_plugin.generation.local")

pytestmark = pytest.mark.xdist_group("with torch")

PAD, WIDTH = 0, 12
ENDS = [*range(2, 12)]  # so many end tokens that a random model soon writes one
GREEDY = {"max_new_tokens": 20, "do_sample": False, "pad_token_id": PAD, "eos_token_id": ENDS}
SMALL = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2}
HEADS = SMALL | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
STATES = HEADS | {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8}


def random_model(name="Qwen3", shape=HEADS):
    """Return a model with large random weights, so that its prompts get different answers."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**shape, pad_token_id=PAD, eos_token_id=2, bos_token_id=1)
    kind = "Seq2SeqLM" if config.is_encoder_decoder else "CausalLM"
    made = getattr(transformers, f"AutoModelFor{kind}").from_config(config).eval()
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


def answers(model, batch, settings, loop=None):
    """Return the answers, and the number of rows of each forward pass."""
    rows = []

    def count(model, arguments, given):
        rows.append(len(given.get("input_ids", ())))

    hook = model.register_forward_pre_hook(count, with_kwargs=True)
    output = model.generate(**batch, **settings, custom_generate=loop)
    hook.remove()
    return output, rows


def both(model, batch, settings):
    """Return the answers of transformers' own loop and of ours, and the rows of each."""
    own, own_rows = answers(model, batch, settings)
    ours, rows = answers(model, batch, settings, fewer.generate_fewer_tokens)
    return own, ours, own_rows, rows


@pytest.mark.parametrize("more", [{}, {"repetition_penalty": 1.3}, {"max_new_tokens": 1}], ids=str)
@pytest.mark.parametrize("name, shape", [("Qwen3", HEADS), ("Gemma2", HEADS | {"sliding_window": 5})], ids=str)
def test_each_distinct_prompt_is_read_once_and_ended_rows_leave(name, shape, more, batch):
    own, ours, own_rows, rows = both(random_model(name, shape), batch, GREEDY | more)
    assert torch.equal(own, ours)
    lengths = (own[:, WIDTH:] != PAD).sum(dim=1)
    left = [int((lengths > step).sum()) for step in range(len(own_rows))]
    assert rows == [4, *left[1:]] and left[0] == 12
    assert more or rows[-1] < 12


@pytest.mark.parametrize(
    "name, shape, more",
    [
        ("Mamba", SMALL, {}),
        ("FalconH1", STATES, {}),  # each of its layers has attention and a state space
        ("T5", {"vocab_size": 64, "d_model": 32, "num_layers": 2}, {}),
        ("Qwen3", HEADS, {"cache_implementation": "static"}),
        ("Qwen3", HEADS, {"num_beams": 2}),
        ("Qwen3", HEADS, {"guidance_scale": 1.5}),
    ],
    ids=str,
)
def test_transformers_own_loop_runs_if_rows_cannot_leave(name, shape, more, batch):
    own, ours, own_rows, rows = both(random_model(name, shape), batch, GREEDY | more)
    assert torch.equal(own, ours)
    assert rows == own_rows


def test_images_stay_with_transformers_own_loop():
    cache = transformers.DynamicCache(config=transformers.Qwen3Config(**HEADS))
    shape = torch.Size([2, 5])
    assert fewer._can_select({"past_key_values": cache}, shape)
    assert not fewer._can_select({"past_key_values": cache, "pixel_values": torch.ones(2, 3, 8, 8)}, shape)


def test_ranks_that_share_weights_use_transformers_synced_loop(batch, monkeypatch, tmp_path):
    monkeypatch.setattr("axolotl_grpo_plugin.generation.fewer_tokens.is_deepspeed_zero3_enabled", lambda: True)
    file = f"file://{tmp_path / 'ranks'}"
    torch.distributed.init_process_group("gloo", init_method=file, rank=0, world_size=1)
    with torch.profiler.profile() as profile:
        _, rows = answers(random_model(), batch, GREEDY, fewer.generate_fewer_tokens)
    torch.distributed.destroy_process_group()
    assert {*rows} == {12}
    assert sum(event.name == "c10d::allreduce_" for event in profile.events()) == len(rows) + 1


def test_samples_have_the_law_of_the_model(batch):
    from scipy.stats import chi2_contingency

    many = {name: values.repeat(250, 1) for name, values in batch.items()}
    sampling = {"do_sample": True, "top_k": 4, "temperature": 4.0, "max_new_tokens": 3}
    outputs = both(random_model(), many, GREEDY | sampling)[:2]
    counts = [Counter(map(tuple, output.tolist())) for output in outputs]
    often = [row for row, count in sum(counts, Counter()).items() if count >= 20]
    table = [list(map(count.__getitem__, often)) for count in counts]
    assert len(often) > 20 and any(row[-1] == PAD for row in often)
    assert chi2_contingency(table).pvalue > 0.01


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(top_k=9, top_p=0.8, min_p=0.05, temperature=1.4),
        Sampling(repetition_penalty=1.2, stop=("answer>\n", "1 ")),
    ],
    ids=str,
)
def test_stored_answers_are_those_of_transformers_own_loop(sampling, monkeypatch):
    backend = local.LocalBackend({}, transformers.AutoTokenizer.from_pretrained(MODEL))
    loaded = Model("base", MODEL, None, 0, "digest")
    backend.load(loaded)
    jobs = []
    for number in range(30):
        ids = [1, *range(40, 60 - number // 10)]
        question = Question("", number // 10, {}, {}, "", ids)
        jobs.append(Job.of(loaded, question, sampling, number, "cpu"))
    (ours,) = backend.generate(jobs)
    generate = backend._model.generate
    monkeypatch.setattr(backend._model, "generate", lambda custom_generate, **given: generate(**given))
    (own,) = backend.generate(jobs)
    assert ours == own
    assert len({len(ids) for _, ids in own}) > 3
