"""The page that a shared model has: what it is, how good it is, how to load it."""

from collections.abc import Mapping, Sequence

TEXT = """\
---
license: {license}
library_name: mmseg-fastscnn
pipeline_tag: image-segmentation
tags: [fast-scnn, semantic-segmentation, real-time]
---

# {title}

[Fast-SCNN](https://arxiv.org/abs/1902.04502), {classes} classes, {parameters:.2f} M
parameters. Trained on: {data}.

```python
from mmseg_fastscnn import FastSCNN

model = FastSCNN.from_pretrained({source!r})
model('street.jpg').save('shown.png')
```

`fastscnn test model.safetensors --data-root DIR` repeats the evaluation,
`fastscnn export model.safetensors` writes it for other runtimes.

{picture}## Accuracy

{accuracy}

## Files

`model.safetensors` holds weights, class names and the config, which is data and is not
run. Its sha256 is `{sha256}`.
"""


def model_card(facts: Mapping, metrics: Mapping | None) -> str:
    """Return the page in Markdown.

    Args:
        facts: `license`, `title`, `data`, `source`, `parameters` (millions),
            `class_names`, `sha256` and `picture`, whether there is a `picture.png`.
        metrics: Content of a `metrics.json` of `fastscnn test`, if there is one.
    """
    shown = '![image and prediction](picture.png)\n\n' if facts['picture'] else ''
    return TEXT.format(
        **{k: v for k, v in facts.items() if k not in ('picture', 'class_names')},
        classes=len(facts['class_names']),
        picture=shown,
        accuracy=accuracy_table(facts['class_names'], metrics),
    )


def accuracy_table(classes: Sequence[str], metrics: Mapping | None) -> str:
    """Return mIoU and the IoU of each class that occurs as a table in Markdown."""
    if metrics is None:
        return f'Not measured. Classes: {", ".join(classes)}.'
    how = 'with ms+flip' if metrics.get('tta') else 'single scale'
    mean = f'**mean, {how}, {metrics["num_images"]} images**'
    rows = {mean: metrics['mIoU']}
    rows |= {name: ratios['IoU'] for name, ratios in metrics['per_class'].items()}
    lines = [f'| {k} | {"-" if v is None else f"{v:.2f}"} |' for k, v in rows.items()]
    return '\n'.join(['| class | IoU |', '|---|---|', *lines])
