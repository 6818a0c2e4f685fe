"""The config of a run, whose text is laid out once.

mmengine has yapf lay out the whole config for each log, for the file in the work dir
and for each checkpoint: half a second or more every time, for the same text.
"""

from mmengine.config import Config

_text: dict[str, str] = {}  # content of the last config that was laid out -> its text


class RunConfig(Config):
    """mmengine's Config that keeps its text until its content changes."""

    @classmethod
    def of(cls, config: Config) -> 'RunConfig':
        """Return a copy of a config."""
        return cls(config.to_dict(), config.text, config.filename, config.env_variables)

    @property
    def pretty_text(self) -> str:
        content = repr(self)
        if content not in _text:
            text = super().pretty_text
            _text.clear()
            _text[content] = text
        return _text[content]
