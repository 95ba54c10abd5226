"""The loop that computes fewer tokens, against transformers' own loop: equal answers, and less work."""

import json
from collections import Counter
from functools import partial
from inspect import signature
from itertools import batched

import pytest

from axolotl_grpo_plugin.generation.answers import Job
from axolotl_grpo_plugin.generation.models import Model
from axolotl_grpo_plugin.generation.rows import Question
from axolotl_grpo_plugin.generation.sampling import Sampling
from tests.conftest import MODEL, QUICKSTART, Later

torch, transformers = Later("torch"), Later("transformers")
fewer, local = Later("axolotl_grpo_plugin.generation.fewer_tokens"), Later("axolotl_grpo_plugin.generation.local")

pytestmark = pytest.mark.xdist_group("with torch")

PAD, EOS, MOST = 0, 2, 24
ENDINGS = list(range(EOS, 12))  # so many end tokens that a random model writes one soon


@pytest.fixture(scope="module")
def tokenizer():
    return transformers.AutoTokenizer.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def model():
    return transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def questions(tokenizer):
    """Return prompts of several lengths."""
    found = []
    for number, line in enumerate((QUICKSTART / "held_out.jsonl").read_text().splitlines()[:24]):
        prompt = [{"role": "user", "content": json.loads(line)["question"]}]
        ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
        found.append(Question("held_out.jsonl", number, {}, {}, prompt, ids))
    assert len({len(question.ids) for question in found}) > 2
    return found


@pytest.fixture(scope="module")
def batch(questions, tokenizer):
    """Return 8 prompts with 4 rows each."""
    ids = [question.ids for question in questions[:8] for _ in range(4)]
    return dict(tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt"))


@pytest.fixture
def widths(monkeypatch):
    """Return a function that records the shape of each forward pass of a model."""

    def record(model):
        shapes = []
        forward = model.forward

        def counted(*arguments, **keywords):
            shapes.append(tuple(keywords["input_ids"].shape))
            return forward(*arguments, **keywords)

        counted.__signature__ = signature(forward)  # transformers reads it
        monkeypatch.setattr(model, "forward", counted)
        return shapes

    return record


def settings(**more):
    base = {"max_new_tokens": MOST, "do_sample": False, "pad_token_id": PAD, "eos_token_id": EOS}
    return transformers.GenerationConfig(**base | {"disable_compile": True} | more)


def both(model, inputs, **more):
    """Return what transformers' own loop and ours write."""
    own = model.generate(**inputs, generation_config=settings(**more))
    ours = model.generate(**inputs, generation_config=settings(**more), custom_generate=fewer.generate_fewer_tokens)
    return own, ours


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"repetition_penalty": 1.3},
        {"eos_token_id": [EOS, 40, 41, 42]},
        {"max_new_tokens": 3},
        {"max_new_tokens": 1},
        {"min_new_tokens": 15},
        {"prefill_chunk_size": 8},
    ],
    ids=str,
)
def test_greedy_answers_are_equal_token_by_token(model, batch, more):
    own, ours = both(model, batch, **more)
    assert torch.equal(own, ours)


def test_each_distinct_prompt_is_read_once_and_ended_rows_leave(model, batch, widths):
    shapes = widths(model)
    answers = model.generate(**batch, generation_config=settings(), custom_generate=fewer.generate_fewer_tokens)
    prompt = batch["input_ids"].shape[1]
    lengths = (answers[:, prompt:] != PAD).sum(dim=1)
    running = [(int((lengths > step).sum()), 1) for step in range(1, int(lengths.max()))]
    assert shapes == [(8, prompt), *running]
    assert len(set(running)) > 1


def test_equal_tokens_with_other_masks_are_other_prompts(model, batch, widths):
    ids = batch["input_ids"][:1].repeat(4, 1)
    masks = torch.ones_like(ids)
    masks[:2, -12:-4] = 0
    shapes = widths(model)
    own, ours = both(model, {"input_ids": ids, "attention_mask": masks})
    assert not torch.equal(own[0], own[2])
    assert torch.equal(own, ours)
    assert [rows for rows, width in shapes if width > 1] == [4, 2]


def test_a_lora_adapter_answers_as_before(batch):
    peft = pytest.importorskip("peft")
    base = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    torch.manual_seed(0)
    adapted = peft.get_peft_model(base, peft.LoraConfig(r=4, init_lora_weights=False, target_modules="all-linear"))
    adapted.eval()
    own = adapted.generate(**batch, generation_config=settings())
    with adapted.disable_adapter():
        assert not torch.equal(own, adapted.generate(**batch, generation_config=settings()))
    adapted.generate = partial(adapted.generate, custom_generate=fewer.generate_fewer_tokens)
    assert torch.equal(own, adapted.generate(**batch, generation_config=settings()))


SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
WINDOW = {**SHAPE, "head_dim": 8, "sliding_window": 5}
STATES = {**SHAPE, "mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
ENCODER = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}


def random_model(name, shape):
    """Return a model with large random weights, so that its prompts get different answers."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**shape, pad_token_id=PAD, eos_token_id=EOS, bos_token_id=1)
    encoders = transformers.AutoModelForSeq2SeqLM
    made = (encoders if config.is_encoder_decoder else transformers.AutoModelForCausalLM).from_config(config).eval()
    for weights in made.parameters():
        if weights.dim() > 1:
            weights.data.mul_(3)
    return made


@pytest.fixture
def random_batch():
    """Return 4 prompts of random tokens and several lengths, with 3 rows each."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(12, 64, (4, 12), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(4):
        ids[row, : 2 * row] = PAD
        mask[row, : 2 * row] = 0
    return {"input_ids": ids.repeat_interleave(3, dim=0), "attention_mask": mask.repeat_interleave(3, dim=0)}


@pytest.mark.parametrize(
    "name, shape",
    [("Mistral", WINDOW), ("Gemma2", WINDOW), ("GPT2", {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4})],
)
def test_other_attention_caches_drop_rows_too(name, shape, random_batch, widths):
    made = random_model(name, shape)
    shapes = widths(made)
    own, ours = both(made, random_batch, eos_token_id=ENDINGS)
    assert torch.equal(own, ours)
    rows = [count for count, _ in shapes[len(shapes) // 2 :]]
    assert rows[0] == 4 and sorted(rows[1:], reverse=True) == rows[1:]
    assert own.shape[1] > 12 + WINDOW["sliding_window"]


@pytest.mark.parametrize(
    "name, shape, more",
    [
        ("Mamba", {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2}, {}),
        ("FalconH1", STATES, {}),  # each of its layers has attention and a state space
        ("Lfm2", SHAPE | {"layer_types": ["conv", "full_attention"]}, {}),
        ("T5", ENCODER, {}),
        ("Qwen3", SHAPE | {"head_dim": 8}, {"cache_implementation": "static"}),
        ("Qwen3", SHAPE | {"head_dim": 8}, {"use_cache": False}),
        ("Qwen3", SHAPE | {"head_dim": 8}, {"num_beams": 2}),
        ("Qwen3", SHAPE | {"head_dim": 8}, {"guidance_scale": 1.5}),
    ],
    ids=str,
)
def test_transformers_own_loop_runs_if_rows_cannot_leave(name, shape, more, random_batch, widths):
    made = random_model(name, shape)
    shapes = widths(made) if name == "FalconH1" else []
    own, ours = both(made, random_batch, eos_token_id=ENDINGS, **more)
    assert torch.equal(own, ours)
    half = len(shapes) // 2
    assert shapes[:half] == shapes[half:]


def test_images_are_never_selected():
    shape = torch.Size([2, 5])
    cache = transformers.DynamicCache(config=transformers.LlamaConfig(**SHAPE))
    inputs = {"past_key_values": cache, "attention_mask": torch.ones(shape)}
    assert fewer._can_select(inputs, shape)
    assert not fewer._can_select(inputs | {"pixel_values": torch.ones(2, 3, 8, 8)}, shape)
    assert not fewer._can_select(inputs | {"position_ids": torch.ones(3, 2, 5)}, shape)


def test_ranks_with_shared_weights_compute_equally_many_steps(model, batch, widths, monkeypatch, tmp_path):
    monkeypatch.setattr("axolotl_grpo_plugin.generation.fewer_tokens.is_deepspeed_zero3_enabled", lambda: True)
    shapes = widths(model)
    file = f"file://{tmp_path / 'ranks'}"
    torch.distributed.init_process_group("gloo", init_method=file, rank=0, world_size=1)
    reduced, reduce = [], torch.distributed.all_reduce
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda *a, **k: (reduced.append(1), reduce(*a, **k)))
    try:
        model.generate(**batch, generation_config=settings(), custom_generate=fewer.generate_fewer_tokens)
    finally:
        torch.distributed.destroy_process_group()
    assert {rows for rows, _ in shapes} == {32}
    assert len(reduced) == len(shapes) + 1


def test_samples_have_the_law_of_the_model(model, batch):
    from scipy.stats import chi2_contingency

    inputs = {name: value[:1, -12:].repeat(2000, 1) for name, value in batch.items()}
    logits = model(input_ids=inputs["input_ids"][:1]).logits[0, -1]
    ending = int(logits.argsort(descending=True)[1])  # many rows leave after one token
    more = {"do_sample": True, "temperature": 1.5, "top_k": 5, "max_new_tokens": 3, "eos_token_id": ending}
    torch.manual_seed(0)
    counts = [Counter(map(tuple, rows[:, -3:].tolist())) for rows in both(model, inputs, **more)]
    seen = [key for key, count in sum(counts, Counter()).items() if count >= 20]
    assert len(seen) > 10 and any(PAD in key for key in seen)
    table = [[count[key] for key in seen] for count in counts]
    assert chi2_contingency(table).pvalue > 0.01


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(top_k=5, seed=3),
        Sampling(top_p=0.8),
        Sampling(min_p=0.1, temperature=1.4),
        Sampling(repetition_penalty=1.2),
        Sampling(stop=("answer>\n", "1 ")),
        Sampling().greedy(),
    ],
    ids=str,
)
def test_stored_answers_are_those_of_transformers_own_loop(sampling, questions, tokenizer, monkeypatch):
    backend = local.LocalBackend({}, tokenizer, batch_size=40)
    loaded = Model("base", MODEL, None, 0, "digest")
    backend.load(loaded)
    jobs = [Job.of(loaded, question, sampling, sample, "cpu") for question in questions for sample in range(3)]
    ours = {job.key: ids for answers in backend.generate(jobs) for job, ids in answers}
    generate = backend._model.generate
    monkeypatch.setattr(backend._model, "generate", lambda custom_generate, **given: generate(**given))
    own = {job.key: ids for answers in backend.generate(jobs) for job, ids in answers}
    assert len(own) == 72 and len({len(ids) for ids in own.values()}) > 1
    assert ours == own


def test_stored_answers_do_not_depend_on_the_order_of_their_batch(questions, tokenizer):
    backend = local.LocalBackend({}, tokenizer, batch_size=None)
    loaded = Model("base", MODEL, None, 0, "digest")
    backend.load(loaded)
    jobs = [Job.of(loaded, question, Sampling(), sample, "cpu") for question in questions[:8] for sample in range(4)]
    (whole,) = backend.generate(jobs)
    found = {}
    for part in batched(reversed(jobs), 5):
        (answers,) = backend.generate(part)
        found |= {job.key: ids for job, ids in answers}
    assert found == {job.key: ids for job, ids in whole}
