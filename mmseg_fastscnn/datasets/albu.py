"""Steps of albumentations, a package that users install where they want it."""

from collections.abc import Mapping, Sequence
from types import ModuleType

import numpy as np
from mmcv.transforms import BaseTransform

from mmseg_fastscnn.packages import needed
from mmseg_fastscnn.registry import TRANSFORMS


@TRANSFORMS.register_module()
class Albu(BaseTransform):
    """Run transforms of albumentations on image and label.

    In a test pipeline only those of colour make sense, such as CLAHE with p=1.0:
    prediction does not undo what others do to the geometry.

    Args:
        transforms: Configs: `type`, a class of albumentations, and its arguments, in
            which `transforms` are configs again.
        keymap: albumentations' name of each key of `results`; by default
            `{'img': 'image', 'gt_seg_map': 'mask'}`.
        update_pad_shape: Set `pad_shape` to the resulting (h, w).
        bgr_to_rgb: Pass images of three channels as RGB and convert the result back.

    Raises:
        ImportError: albumentations is not installed.
        ValueError: albumentations has no class of a `type`.
    """

    KEYMAP = {'img': 'image', 'gt_seg_map': 'mask'}

    def __init__(
        self,
        transforms: Sequence[Mapping],
        keymap: Mapping[str, str] | None = None,
        update_pad_shape: bool = False,
        bgr_to_rgb: bool = True,
    ):
        module = needed('albumentations', 'Albu')  # or albumentationsX, by that name
        self.augment = module.Compose([built(module, cfg) for cfg in transforms])
        self.keymap = dict(keymap or self.KEYMAP)
        self.update_pad_shape = update_pad_shape
        self.bgr_to_rgb = bgr_to_rgb

    def transform(self, results: dict) -> dict:
        if hasattr(self.augment, 'set_random_seed'):
            # newer versions draw from generators of their own, which know nothing of
            # the run's seed, and are the same in all workers
            self.augment.set_random_seed(int(np.random.randint(2**31)))
        keys = {key: name for key, name in self.keymap.items() if key in results}
        given = {name: results[key] for key, name in keys.items()}
        given = self.augment(**self._swapped(given))
        given = self._swapped(given)
        results.update({key: given[name] for key, name in keys.items()})
        results['img_shape'] = results['img'].shape[:2]
        if self.update_pad_shape:
            results['pad_shape'] = results['img_shape']
        return results

    def _swapped(self, given: dict) -> dict:
        """Bring the image from BGR to RGB or back."""
        name = self.keymap.get('img')
        if self.bgr_to_rgb and name in given and given[name].shape[2:] == (3,):
            image = np.ascontiguousarray(given[name][..., ::-1])
            given = dict(given, **{name: image})
        return given


def built(module: ModuleType, cfg: Mapping) -> object:
    """Build a transform of albumentations, and those inside of it."""
    arguments = dict(cfg)
    name = arguments.pop('type')
    # not its functions, of which some load whatever a file names
    if not isinstance(getattr(module, str(name), None), type):
        raise ValueError(f'Albu: albumentations has no transform named {name!r}.')
    if 'transforms' in arguments:
        inner = [built(module, item) for item in arguments['transforms']]
        arguments['transforms'] = inner
    return getattr(module, name)(**arguments)
