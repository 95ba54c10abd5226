"""Does SmolLM2 learn a label task and a list task of one's own? Print results/own_data.md's tables.

    python -m benchmarks.own_data FOLDER MODEL [TASK ...]

Writes datasets as a newcomer may have them, and trains each by the folder that `axolotl-grpo init` makes.
Tasks: tickets (text, one of two teams) and numbers (a chat, a list of numbers), with the changes of OWN. And units (a
system column, a distractor), quiz (a CSV with options in columns) and extract (chats that end in JSON), by the
commands alone. A finished run is kept.
"""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import yaml

from benchmarks.all import facts

ROWS = 400
# Of the config that init writes. A short system turn replaces the layout's description and the template's
# own system turn: the examples show the layout.
CHANGES = {"grpo_cpu_threads": 1, "grpo_system_in": "system"}
OWN = {
    "tickets": {"max_steps": 24, "grpo_system_prompt": "The answer is billing or shipping."},
    "numbers": {
        "max_steps": 30,
        "gradient_accumulation_steps": 1,
        "grpo_system_prompt": "Answer.",
        "grpo_examples": [
            {
                "question": "List the numbers: Ida has 7 cups and 24 eggs.",
                "answer": "7 cups, 24 eggs. #### [7, 24]",
            }
        ],
    },
}
TRL = {
    "tickets": {"num_generations": 4, "max_completion_length": 36},
    "numbers": {"max_completion_length": 48},
}
TICKETS = {
    "billing": [
        "The invoice shows the wrong amount",
        "I was charged twice",
        "Please refund my payment",
        "My credit card was declined",
        "The price on the bill is too high",
        "I need a receipt for my payment",
    ],
    "shipping": [
        "My parcel has not arrived",
        "The package came to the wrong address",
        "When will my order be delivered",
        "The courier left the box outside",
        "The delivery is a week late",
        "The tracking number of my parcel is wrong",
    ],
}
STARTS = ["", "Hello, ", "Hi! ", "Dear team: ", "Once more: ", "Urgent: "]
ENDS = [
    ".",
    " since Monday.",
    ". Please help.",
    " again.",
    ". What can I do?",
    ", and nobody answers.",
]
THINGS = "nuts cups keys pens cats books coins eggs maps hats".split()
NAMES = "Ann Tom Lea Ben Mia Sam Eva Max".split()


def tickets(rng):
    """Return tickets. The held-out rows have the problems of the others, with other words around them."""
    rows = []
    for team, problems in TICKETS.items():
        for problem in problems:
            for start in STARTS:
                for end in ENDS:
                    rows.append({"text": start + problem + end, "team": team})
    return rng.sample(rows, ROWS)


def numbers(rng):
    """Return chats that ask for the numbers in a sentence."""
    rows = []
    for _ in range(ROWS):
        counts = [rng.randint(2, 99) for _ in range(rng.randint(2, 3))]
        things = rng.sample(THINGS, len(counts))
        parts = [f"{count} {thing}" for count, thing in zip(counts, things, strict=True)]
        listed = f"{', '.join(parts[:-1])} and {parts[-1]}"
        question = f"List the numbers: {rng.choice(NAMES)} has {listed}."
        chat = [{"role": "user", "content": question}]
        rows.append({"messages": chat, "numbers": counts})
    return rows


def units(rng):
    """Return lengths to convert. The weight is a distractor."""
    rows = []
    things = ["rope", "board", "pipe", "fence", "ribbon", "wall"]
    for _ in range(ROWS):
        meters, kilos = rng.randint(2, 30), rng.randint(2, 30)
        question = f"A {rng.choice(things)} is {meters} m long and weighs {kilos} kg. How long is it in cm?"
        rows.append(
            {
                "system": "You convert units.",
                "question": question,
                "answer": meters * 100,
                "unit": "cm",
            }
        )
    return rows


WORDS = {
    "an animal": "dog cat horse cow sheep lion tiger rabbit goat mouse".split(),
    "a fruit": "apple banana orange pear grape lemon peach cherry plum mango".split(),
    "a color": "red blue green yellow pink purple brown black white gray".split(),
    "a tool": "hammer saw drill wrench axe shovel ladder knife rake pliers".split(),
}


def quiz(rng):
    """Return questions with four options in columns, of which one is of the kind that is asked for."""
    rows = []
    for number in range(ROWS):
        kind = rng.choice(list(WORDS))
        others = [rng.choice(words) for name, words in WORDS.items() if name != kind]
        right = rng.choice(WORDS[kind])
        options = rng.sample([right, *others], 4)
        columns = dict(zip("ABCD", options, strict=True))
        answer = "ABCD"[options.index(right)]
        rows.append(
            {"id": number, "question": f"Which of these is {kind}?", **columns, "answer": answer}
        )
    return rows


def extract(rng):
    """Return chats whose last turn is the JSON of a sentence."""
    rows = []
    cities = "Rome Paris Oslo Lima Cairo Madrid".split()
    for _ in range(ROWS):
        name, age, city = rng.choice(NAMES), rng.randint(18, 80), rng.choice(cities)
        text = f"{name} is {age} years old and lives in {city}."
        gold = json.dumps({"name": name, "age": age, "city": city})
        chat = [{"role": "user", "content": text}, {"role": "assistant", "content": gold}]
        rows.append({"messages": chat})
    return rows


def written(folder, task, rows):
    """Write the rows of a task as its kind of file, and return its name."""
    if task == "quiz":
        lines = [",".join(map(str, row)) + "\n" for row in [list(rows[0]), *map(dict.values, rows)]]
    else:
        lines = [json.dumps(row) + "\n" for row in rows]
    file = f"{task}.csv" if task == "quiz" else f"{task}.jsonl"
    (folder / file).write_text("".join(lines))
    return file


def axolotl(folder, *words):
    """Run a command in the folder, and return the seconds that it took."""
    start = time.monotonic()
    subprocess.run(["axolotl-grpo", *words], check=True, cwd=folder, stdout=sys.stderr)
    return time.monotonic() - start


def prepared(folder, task, model):
    """Make the data and its folder with init, change the config, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / task
    if made.exists():
        return made
    rows = globals()[task](random.Random(1))
    axolotl(folder, "init", written(folder, task, rows), "--model", model)
    if task not in OWN:
        return made
    file = made / "grpo.yaml"
    config = yaml.safe_load(file.read_text()) | CHANGES | OWN[task]
    config["trl"] |= TRL[task]
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return made


def main(folder, model, *tasks):
    print(facts(), "\n", flush=True)
    for task in tasks or ("tickets", "numbers", "units", "quiz", "extract"):
        made = prepared(Path(folder), task, str(Path(model).resolve()))
        card = made / "outputs" / "README.md"
        if not card.exists():
            seconds = axolotl(made, "check", "grpo.yaml")
            seconds += axolotl(made, "passrate", "grpo.yaml", "--limit", "12")
            seconds += axolotl(made, "train", "grpo.yaml")
            print(f"{task}: {seconds / 60:.1f} minutes", flush=True)
        print(card.read_text().partition("## Use")[0].rpartition("---\n")[2])


if __name__ == "__main__":
    main(*sys.argv[1:])
