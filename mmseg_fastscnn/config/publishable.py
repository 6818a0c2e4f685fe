"""A config without the paths of the machine that it ran on."""

from pathlib import PurePosixPath, PureWindowsPath

from mmengine.config import Config

from mmseg_fastscnn.config.only_data import parse_config

# What says where something lay, and nothing about the model.
OF_THE_MACHINE = (
    *('work_dir', 'load_from', 'resume', 'launcher'),
    *('packed', 'soft_labels', 'skip_bad'),
)


def without_paths(text: str, name: str) -> str:
    """Return the text of a config without paths of a machine.

    Of absolute paths, and of those that begin in a home folder or above the current
    one, the last part is left: `/home/me/camvid` becomes `data/camvid`.

    Args:
        text: A config as training writes it into a checkpoint.
        name: What error messages call it.

    Raises:
        ValueError: See `parse_config`.
    """
    return Config(cleaned(parse_config(text, name).to_dict())).pretty_text


def cleaned(value: object) -> object:
    """Return a part of a config without paths of a machine."""
    if isinstance(value, dict):
        return {k: cleaned(v) for k, v in value.items() if k not in OF_THE_MACHINE}
    if isinstance(value, list | tuple):
        return type(value)(cleaned(part) for part in value)
    return without_machine(value) if isinstance(value, str) else value


def without_machine(text: str) -> str:
    """Return `data/NAME` for a path outside of the current folder, else the text."""
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(text)
        if path.is_absolute() or path.drive or path.parts[:1] in (('..',), ('~',)):
            return f'data/{path.name}'
    return text
