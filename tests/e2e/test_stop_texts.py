"""A text of `stop` ends completions without vLLM, too, and does not change what comes before it."""

import pytest

from axolotl_grpo_plugin.config import Config
from tests.conftest import MODEL, Later
from tests.e2e.scripted import trainer_of

torch, transformers = Later("torch"), Later("transformers")

ROWS = [{"prompt": [{"role": "user", "content": f"What is {number} + 2?"}]} for number in range(8)]
STOP = "</reasoning>"


@pytest.fixture(params=["<|im_start|>", "<|im_end|>"], ids=["own padding", "padding is the end token"])
def trainer(request, tmp_path):
    """Make trainers with the texts that end a completion. padding: the token, which the model may also write."""
    from axolotl_grpo_plugin.repairs.end_tokens import EndTokens
    from axolotl_grpo_plugin.repairs.upstream import decode_with
    from axolotl_grpo_plugin.training.fewer_tokens import generate_fewer_tokens
    from axolotl_grpo_plugin.training.stop_texts import StopTexts

    def make(loop=generate_fewer_tokens, **generation_kwargs):
        class Trainer(StopTexts, EndTokens):
            cfg = Config({"grpo_trl_args": {"generation_kwargs": generation_kwargs}})

            def __init__(self, *arguments, processing_class, **options):
                processing_class.pad_token = request.param
                super().__init__(*arguments, processing_class=processing_class, **options)

        made = trainer_of(
            MODEL,
            [lambda completions, **_: [0.0] * len(completions)],
            ROWS,
            kind=Trainer,
            output_dir=str(tmp_path),
            per_device_train_batch_size=8,
            max_completion_length=40,
            generation_kwargs=generation_kwargs,
        )
        decode_with(made.model, loop, made.stopping)
        return made

    return make


def completions_of(made):
    transformers.set_seed(7)
    ids = made._tokenize_prompts([row["prompt"] for row in ROWS])[0]
    return made._generate_single_turn(ids, None, {}, 1)[0]


@pytest.mark.parametrize(
    "do_sample, own_loop, stop",
    [(False, False, {"stop": STOP}), (True, True, {"stop_strings": [STOP, "no such text"]})],
)
def test_kept_tokens_are_those_without_the_text(trainer, do_sample, own_loop, stop):
    """Sampled by transformers' own loop, in which a row that ends does not change the random numbers of others."""
    loop = {"loop": None} if own_loop else {}
    whole = completions_of(trainer(do_sample=do_sample, **loop))
    made = trainer(do_sample=do_sample, **loop, **stop)
    passes = []
    made.model.register_forward_pre_hook(lambda *_: passes.append(1))
    kept = completions_of(made)
    decode = made.processing_class.decode
    for short, long in zip(kept, whole, strict=True):
        assert short == long[: len(short)]
        assert STOP not in decode(short[:-1])
        assert len(short) == len(long) or STOP in decode(short)
    assert any(STOP in decode(ids) for ids in kept)
    assert len(passes) == max(map(len, kept))
    assert sum(map(len, kept)) < sum(map(len, whole))
