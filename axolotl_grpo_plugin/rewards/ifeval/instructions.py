"""The 25 verifiable instructions of IFEval, as functions of a response.

Written from the descriptions in table 4 of "Instruction-Following Evaluation for Large Language Models"
(https://arxiv.org/abs/2311.07911). A function has the name of its instruction without the group, and its parameters
have the names of the dataset's `kwargs`. A part of a response that is asked for has at least a letter or a digit.
"""

import re
from collections.abc import Callable

from axolotl_grpo_plugin.rewards.structured.documents import NotJSON, read_json

Check = Callable[..., bool]

# The languages that `langdetect` tells apart need no more text.
_LONGEST_FOR_LANGUAGE = 5_000
RELATIONS = ("at least", "less than", "at most", "exactly")
_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_COMMA = re.compile("[,\u060c\u3001\uff0c]")
_WORD = re.compile(r"\w+")
_CASED_WORD = re.compile(r"[^\W_]+(?:['\u2019.&-][^\W_]+)*")
_FIRST_WORD = re.compile(r"[\s\"'\u201c\u2018]*([^\W_]+(?:[-\u2019'][^\W_]+)*)")
_PLACEHOLDER = re.compile(r"\[([^\[\]\n]+)\]")
_BULLET = re.compile(r"^[ \t]*[*-][ \t]+\S.*$", re.MULTILINE)
_HIGHLIGHT = re.compile(r"(\*\*|\*)(?=[^\s*])([^*\n]+)(?<!\s)\1")
_TITLE = re.compile(r"<<([^<>\n]+)>>")
_RESPONSES = re.compile(r"(?<!\*)\*{6}(?!\*)")
_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*)\n[ \t]*```", re.IGNORECASE | re.DOTALL)
_SENTENCE_END = re.compile(
    r"[.!?\u2026\u3002\uff01\uff1f]+[\"'\u201d\u2019)\]*_]*(?=\s|$)|[\u3002\uff01\uff1f]"
)
# Words that end in a full stop within a sentence.
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'])(?:[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]|Mrs?|Ms|Dr|Prof|St|Jr|Sr|Rev|Gen|Sen|Rep|Capt|Lt|Col"
    r"|vs|etc|cf|al|approx|Inc|Ltd|Co|Fig|Vol|pp?)\.$"
)


def has_content(text: str) -> bool:
    """Return whether a text has a letter or a digit."""
    return any(map(str.isalnum, text))


def _fits(count: int, relation: str, wanted: int) -> bool:
    """Return whether a number has a relation to another one."""
    if relation == "at least":
        return count >= wanted
    if relation == "less than":
        return count < wanted
    if relation == "at most":
        return count <= wanted
    return count == wanted


def _is_language(text: str, language: str) -> bool:
    """Return whether a text is in a language, by its code ("en"). A text that nobody can tell is in none."""
    # Here, because it loads its profiles of languages.
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0  # otherwise the same text may get another result
    try:
        detected: str = detect(text[:_LONGEST_FOR_LANGUAGE].lower())
    except LangDetectException:
        return False
    # It tells "zh-cn" from "zh-tw", and the dataset does not.
    return detected == language.lower() or detected.partition("-")[0] == language.lower()


def existence(text: str, keywords: list[str]) -> bool:
    """Each keyword occurs, in any case."""
    return all(keyword.casefold() in text.casefold() for keyword in keywords)


def frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    """The keyword occurs so often, in any case."""
    return _fits(text.casefold().count(keyword.casefold()), relation, frequency)


def forbidden_words(text: str, forbidden_words: list[str]) -> bool:
    """No forbidden word occurs as a whole word, in any case."""
    for word in forbidden_words:
        if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE):
            return False
    return True


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    """The letter occurs so often, in any case."""
    return _fits(text.lower().count(letter.lower()), let_relation, let_frequency)


def response_language(text: str, language: str) -> bool:
    """All of the response is in the language."""
    return _is_language(text, language)


def number_sentences(text: str, num_sentences: int, relation: str) -> bool:
    """The response has so many sentences."""
    return _fits(count_sentences(text), relation, num_sentences)


def count_sentences(text: str) -> int:
    """Return the number of sentences, without those that have no letter, such as the number of a list's entry."""
    count = 0
    start = 0
    for end in _SENTENCE_END.finditer(text):
        last_words = text[max(start, end.start() - 20) : end.start() + 1]
        if end[0] == "." and _ABBREVIATION.search(last_words):
            continue
        count += any(map(str.isalpha, text[start : end.end()]))
        start = end.end()
    return count + any(map(str.isalpha, text[start:]))


def number_paragraphs(text: str, num_paragraphs: int) -> bool:
    """The response has so many paragraphs with the divider `***` between them."""
    paragraphs = text.split("***")
    # A divider may stand before the first paragraph, or after the last one.
    if not paragraphs[0].strip():
        del paragraphs[0]
    if paragraphs and not paragraphs[-1].strip():
        del paragraphs[-1]
    return len(paragraphs) == num_paragraphs and all(map(has_content, paragraphs))


def number_words(text: str, num_words: int, relation: str) -> bool:
    """The response has so many words."""
    return _fits(len(_WORD.findall(text)), relation, num_words)


def nth_paragraph_first_word(
    text: str, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> bool:
    """The response has so many paragraphs with empty lines between them, and one of them begins with the word."""
    paragraphs = [part for part in text.split("\n\n") if part.strip()]
    if len(paragraphs) != num_paragraphs or not 1 <= nth_paragraph <= num_paragraphs:
        return False
    first = _FIRST_WORD.match(paragraphs[nth_paragraph - 1])
    return first is not None and first[1].casefold() == first_word.casefold()


def number_placeholders(text: str, num_placeholders: int) -> bool:
    """The response has at least so many placeholders in brackets, such as [address]."""
    return sum(map(has_content, _PLACEHOLDER.findall(text))) >= num_placeholders


def postscript(text: str, postscript_marker: str) -> bool:
    """The marker begins a postscript, which is not empty."""
    letters = [re.escape(part) for part in re.findall(r"\w\.?|\S", postscript_marker)]
    marker = re.search(rf"(?<![\w.]){r'\s?'.join(letters)}", text, re.IGNORECASE)
    return marker is not None and has_content(text[marker.end() :])


def number_bullet_lists(text: str, num_bullets: int) -> bool:
    """The response has exactly so many Markdown bullets: lines that begin with `* ` or `- `."""
    return len([line for line in _BULLET.findall(text) if has_content(line)]) == num_bullets


def constrained_response(text: str) -> bool:
    """The response has exactly one of the three answers."""
    return sum(answer in text for answer in _ANSWERS) == 1


def number_highlighted_sections(text: str, num_highlights: int) -> bool:
    """The response has at least so many highlights in Markdown: *text* or **text**."""
    found = [match[2] for match in _HIGHLIGHT.finditer(text)]
    return sum(map(has_content, found)) >= num_highlights


def multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """The response has at least so many sections that begin with the word and a number, and are not empty."""
    head = re.compile(rf"(?<!\w){re.escape(section_spliter.strip())}\s*([0-9]+)")
    _, *parts = head.split(text)
    numbers = set()
    for number, body in zip(parts[::2], parts[1::2], strict=True):
        if has_content(body):
            numbers.add(int(number[:9]))
    return len(numbers) >= num_sections


def json_format(text: str) -> bool:
    """All of the response is a JSON object or list, in a Markdown fence or without one."""
    fenced = _FENCED.fullmatch(text.strip())
    try:
        value = read_json(fenced[1] if fenced else text)
    except NotJSON:
        return False
    return isinstance(value, dict | list)


def title(text: str) -> bool:
    """The response has a title in double angular brackets, such as <<poem of joy>>."""
    return any(map(has_content, _TITLE.findall(text)))


def two_responses(text: str) -> bool:
    """The response is two different responses with ****** between them."""
    responses = [part.strip() for part in _RESPONSES.split(text)]
    if not responses[0]:
        del responses[0]
    if responses and not responses[-1]:
        del responses[-1]
    is_pair = len(responses) == 2 and responses[0] != responses[1]
    return is_pair and all(map(has_content, responses))


def repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    """The response repeats the request, in any case, and then answers it."""
    request = prompt_to_repeat.strip()
    start = text.lstrip()[: len(request)]
    return start.casefold() == request.casefold() and has_content(text.lstrip()[len(request) :])


def end_checker(text: str, end_phrase: str) -> bool:
    """The response ends with the phrase, in any case. Only a quotation mark may follow."""
    end = end_phrase.strip().strip('"').rstrip().casefold()
    return text.strip().strip('"').rstrip().casefold().endswith(end)


def quotation(text: str) -> bool:
    """All of the response is in double quotation marks."""
    text = text.strip()
    return len(text) > 2 and text[0] == text[-1] == '"'


def capital_word_frequency(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """So many words have capital letters only."""
    capitals = sum(map(str.isupper, _CASED_WORD.findall(text)))
    return _fits(capitals, capital_relation, capital_frequency)


def english_capital(text: str) -> bool:
    """All letters of the response are capital, and it is English."""
    return text.isupper() and _is_language(text, "en")


def english_lowercase(text: str) -> bool:
    """No letter of the response is capital, and it is English."""
    return text.islower() and _is_language(text, "en")


def no_comma(text: str) -> bool:
    """The response has no comma."""
    return not _COMMA.search(text)


INSTRUCTIONS: dict[str, Check] = {
    "keywords:existence": existence,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_words": number_words,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:constrained_response": constrained_response,
    "detectable_format:number_highlighted_sections": number_highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": json_format,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": end_checker,
    "startend:quotation": quotation,
    "change_case:capital_word_frequency": capital_word_frequency,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "punctuation:no_comma": no_comma,
}
