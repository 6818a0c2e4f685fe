"""How to predict: the whole image at once, or window by window."""


def windows(length: int, window: int, stride: int) -> list[slice]:
    """Cover `length` pixels; the last window is moved back to end at the edge."""
    count = max(length - window + stride - 1, 0) // stride + 1
    stops = [min(k * stride + window, length) for k in range(count)]
    return [slice(max(stop - window, 0), stop) for stop in stops]


def checked_test_cfg(test_cfg: dict) -> dict:
    """Return `test_cfg`; raise ValueError if it is not a way to predict."""
    mode = test_cfg.get('mode')
    if mode not in ('whole', 'slide'):
        raise ValueError(f"test_cfg.mode is {mode!r}; it must be 'whole' or 'slide'.")
    if mode == 'slide':
        crop, stride = test_cfg.get('crop_size'), test_cfg.get('stride')
        if not crop or not stride or stride[0] > crop[0] or stride[1] > crop[1]:
            raise ValueError(
                f"test_cfg.mode='slide' needs crop_size (h, w) and a stride (h, w) "
                f'that is not larger; found crop_size={crop}, stride={stride}.'
            )
    return test_cfg
