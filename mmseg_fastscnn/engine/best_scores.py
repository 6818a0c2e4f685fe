"""Which scores of a validation are the best of a run so far."""

from collections.abc import Iterator, Mapping
from math import inf


class BestScores:
    """The scores whose best checkpoint is kept; see `CheckpointHook`.

    Args:
        names: `save_best` of the hook.
        rule: `rule` of the hook.

    Raises:
        ValueError: A rule is neither 'greater' nor 'less', or there is not one per
            name.
    """

    def __init__(self, names: str | list[str] | None, rule: str | list[str] | None):
        self.names = [names] if isinstance(names, str) else names or []
        self.rules = rule if isinstance(rule, list) else [rule] * len(self.names)
        wrong = set(self.rules) - {'greater', 'less', None}
        if wrong or len(self.rules) != len(self.names):
            raise ValueError(
                f"CheckpointHook has rule={rule!r}; it must be 'greater' or 'less', or "
                f'a list with one of these for each of save_best={names!r}.'
            )

    def better(self, info: Mapping, metrics: Mapping) -> Iterator[tuple[str, str]]:
        """Yield the scores that are the best so far, and the end of their keys.

        Args:
            info: What the run keeps of the best: `best_score` and `best_ckpt`, with the
                name of the score at the end of the key if there are several.
            metrics: Scores of the validation; {} where nothing is labelled.

        Raises:
            ValueError: The validation gives no score of a name.
        """
        if not metrics:
            return
        for name, rule in zip(self.names, self.rules, strict=True):
            key = next(iter(metrics)) if name == 'auto' else name
            if key not in metrics:
                raise ValueError(
                    f'CheckpointHook has save_best={name!r}, but validation gives '
                    f'{", ".join(metrics)}. Choose one of these.'
                )
            suffix = f'_{key}' if len(self.names) > 1 else ''
            less = rule == 'less' or (rule is None and 'loss' in key.lower())
            score = info.get(f'best_score{suffix}', inf if less else -inf)
            if metrics[key] is not None and (
                metrics[key] < score if less else metrics[key] > score
            ):
                yield key, suffix
