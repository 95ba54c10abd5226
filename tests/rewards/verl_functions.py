"""Reward functions in verl's form."""


def hash_answer(solution_str, ground_truth, method="strict", format_score=0.0, score=1.0):
    said = solution_str.split("####")[-1] if method == "strict" else solution_str
    if method == "strict" and "####" not in solution_str:
        return 0.0
    return score if said.split()[-1] == ground_truth else format_score


def own_columns(solution_str, number, unit, score=1.0):
    return score * (solution_str == f"{number} {unit}")


def with_extras(data_source, solution_str, ground_truth, extra_info=None):
    index = (extra_info or {}).get("index")
    return {"score": 0.5, "pred": f"{solution_str} {data_source} {ground_truth} {index}"}


def as_verl_has_it(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    return float(solution_str == ground_truth and kwargs == {"strict": True})


def of_record(solution_str, ground_truth):
    return float(int(solution_str) == ground_truth["target"])


def gives(solution_str, ground_truth, result=0.0):
    return result


def not_verls(completions, **columns):
    return [0.0 for _ in completions]
