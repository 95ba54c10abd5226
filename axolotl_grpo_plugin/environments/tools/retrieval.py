"""Search in a corpus by BM25, without a network."""

import json
from pathlib import Path


class search:
    """Finds the passages of a corpus that share rare words with a query.

    Args:
        corpus: the path of a JSONL file, with one passage per line.
        text: the key of a passage's text.
        results: the most passages of an answer.
        characters: the most characters of each.
    """

    def __init__(self, corpus: str, text: str = "text", results: int = 3, characters: int = 1000):
        try:
            import bm25s
        except ImportError as error:
            raise ImportError("bm25s is not installed. pip install bm25s") from error
        with Path(corpus).open(encoding="utf-8") as lines:
            self._passages = [
                str(json.loads(line)[text])[:characters] for line in lines if line.strip()
            ]
        self._tokenize, self._index = bm25s.tokenize, bm25s.BM25()
        self._index.index(self._tokenize(self._passages, show_progress=False), show_progress=False)
        self._most = min(results, len(self._passages))

    def __call__(self, query: str) -> str:
        """
        Search for passages.

        Args:
            query: Words that the passages should have.

        Returns:
            The best passages, one per paragraph.
        """
        words = self._tokenize([query], show_progress=False)
        numbers, scores = self._index.retrieve(words, k=self._most, show_progress=False)
        found = zip(numbers[0].tolist(), scores[0].tolist(), strict=True)
        best = [self._passages[number] for number, score in found if score > 0]
        return "\n\n".join(best) or "no passage has these words"
