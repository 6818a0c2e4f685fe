"""The command line, as a user types it: real processes, real files."""

import json
import re
import struct

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT, TOY, free_port, run, small_run
from formulas import fill, model_config
from mmengine.registry import init_default_scope

from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.datasets import CityscapesDataset
from mmseg_fastscnn.datasets.loading import read_label
from mmseg_fastscnn.registry import MODELS

init_default_scope('mmseg_fastscnn')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Weights by formula: their predictions are wrong, but of many classes."""
    path = tmp_path_factory.mktemp('formula') / 'weights.pth'
    state = fill(MODELS.build(model_config())).state_dict()
    torch.save(dict(state_dict=state, meta={}), path)
    return path


def metrics(work_dir, kind: str = '') -> dict:
    return json.loads((work_dir / f'metrics{kind}.json').read_text())


def logged_losses(printed: str) -> list[float]:
    return [float(x) for x in re.findall(r'Iter\(train\).*?  loss: ([\d.]+)', printed)]


def evaluate(checkpoint, streets, work_dir, *options, kind: str = '') -> dict:
    run(
        'tools/test.py',
        *[TOY, checkpoint, '--data-root', streets, '--work-dir', work_dir, *options],
    )
    return metrics(work_dir, kind)


@pytest.fixture(scope='module')
def evaluated(streets, checkpoint, tmp_path_factory):
    """Work dir of an evaluation with label images and pictures, and its scores."""
    work_dir = tmp_path_factory.mktemp('evaluated')
    options = ['--out', work_dir / 'out', '--show-dir', work_dir / 'show']
    return work_dir, evaluate(checkpoint, streets, work_dir, *options, *small_run())


def test_what_a_training_run_leaves_and_prints(trained):
    work_dir, printed = trained
    left = {path.name for path in work_dir.iterdir()}
    assert {'iter_2.pth', 'iter_4.pth', 'last_checkpoint'} <= left
    assert any(name.startswith('best_mIoU_iter_4') for name in left)
    said = re.search(r'Up to 5 more checkpoints of about ([\d.]+) MB need', printed)
    size = (work_dir / 'iter_4.pth').stat().st_size / 1e6
    assert float(said[1]) == pytest.approx(size, rel=0.05)
    for line in [
        r'config +configs/fastscnn/fast_scnn_toy_streets\.py',
        r'data +6 training images of CityscapesDataset, 19 classes',
        r'batch +2 images x 1 processes',
        r'validation +5 validation images .* every 4 iterations',
        r'learning rate is scaled by 0\.5: 2 images per step, .* for 4',
        r'Iter\(train\) \[4/4\].*eta: .*loss: ',
        r'Iter\(val\).*mIoU: ',
    ]:
        assert re.search(line, printed), line
    assert len(printed.splitlines()) < 60
    plain = torch.load(work_dir / 'iter_4.pth', weights_only=True)  # no allow-list
    assert len(plain['message_hub']['log_scalars']['train/loss'][0]) == 4
    assert 'deprecated' not in printed and 'Traceback' not in printed


def test_test_writes_metrics_label_images_and_pictures(streets, checkpoint, evaluated):
    work_dir, report = evaluated
    out, show = work_dir / 'out', work_dir / 'show'
    assert report['num_images'] == 5 and report['tta'] is False
    assert report['config'] == TOY and report['checkpoint'] == str(checkpoint)
    assert len(report['per_class']) == 19
    # the means follow from the written label images, which have Cityscapes' raw ids
    data = CityscapesDataset(
        data_root=str(streets),
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
    )
    confusion = np.zeros((19, 19))
    for k in range(5):
        info = data.get_data_info(k)
        raw = cv2.imread(str(out / info['rel_path']), cv2.IMREAD_UNCHANGED)
        assert raw.shape == (64, 128) and raw.dtype == np.uint8 and raw.min() >= 7
        pred = data.label_map.table[raw]
        label = read_label(info['seg_map_path'], data.label_map)
        np.add.at(confusion, (label[label < 19], pred[label < 19]), 1)
        picture = cv2.imread(str(show / info['rel_path']))
        assert picture.shape[1] == 3 * 128 + 8 and picture.shape[0] > 18 + 64 + 18
        assert (picture[18:82, :128] == cv2.imread(info['img_path'])).all()
        union = np.bincount(pred[label < 19], minlength=19)
        of_label = np.bincount(label[label < 19], minlength=19)
        hit = np.bincount(label[label == pred], minlength=19)
        scores = report['per_image'][info['rel_path']]
        iou = hit[of_label > 0] / (union + of_label - hit)[of_label > 0]
        assert scores['IoU'] == pytest.approx(100 * iou.mean())
        assert scores['aAcc'] == pytest.approx(100 * hit.sum() / of_label.sum())
    assert report['confusion_matrix'] == confusion.astype(int).tolist()
    page, wrong = (work_dir / 'metrics.html').read_text(), confusion.astype(int)
    np.fill_diagonal(wrong, 0)
    assert f'<td>{wrong.max():,}</td>' in page and f'{report["mIoU"]:.2f}' in page
    union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    iou = 100 * np.diag(confusion)[union > 0] / union[union > 0]
    assert report['mIoU'] == pytest.approx(iou.mean(), rel=1e-9)
    found = [
        row['IoU'] for row in report['per_class'].values() if row['IoU'] is not None
    ]
    assert found == pytest.approx(iou.tolist(), rel=1e-9)


def test_batches_give_the_same_metrics(streets, checkpoint, evaluated, tmp_path):
    _, one = evaluated
    options = [*small_run(), 'test_dataloader.batch_size=2']  # of 5 images
    two = evaluate(checkpoint, streets, tmp_path, *options)
    assert two['num_images'] == 5
    assert two['aAcc'] == pytest.approx(one['aAcc'], abs=0.01)
    assert two['mIoU'] == pytest.approx(one['mIoU'], abs=0.01)


def test_tta_is_another_evaluation_of_the_same_images(streets, checkpoint, evaluated):
    work_dir, plain = evaluated
    options = ['--tta', *small_run()]
    tta = evaluate(checkpoint, streets, work_dir, *options, kind='_ms_flip')
    assert metrics(work_dir) == plain  # which is not written over
    assert tta['tta'] is True and tta['num_images'] == 5
    assert tta['aAcc'] != plain['aAcc'] and tta['mIoU'] > 0


def test_two_processes_evaluate_exactly_like_one(
    streets, checkpoint, evaluated, tmp_path
):
    run(
        *['tools/dist_test.sh', TOY, checkpoint, 2, '--data-root', streets],
        *['--work-dir', tmp_path, *small_run()],
        PORT=free_port(),
    )
    assert metrics(tmp_path) == evaluated[1]  # 5 images: an odd number for two


@pytest.mark.parametrize('options', [['--amp'], ['--deterministic']])
def test_options_of_train(streets, trained, tmp_path, options):
    printed = run(
        'tools/train.py',
        TOY,
        *['--work-dir', tmp_path, '--data-root', streets, '--seed', 1, *options],
        *['--no-auto-scale-lr', *small_run(iterations=2)],
    )
    assert 'scaled' not in printed and 'lr 0.0003 now' in printed
    assert ('AmpOptimWrapper' in printed) == ('--amp' in options)
    (log,) = tmp_path.rglob('*.log')
    deterministic = 'deterministic: True' in log.read_text()
    assert deterministic == ('--deterministic' in options)
    loss, reference = logged_losses(printed)[0], logged_losses(trained[1])[0]
    assert loss == pytest.approx(reference, rel=0.02 if '--amp' in options else 1e-3)


def test_two_processes_take_the_step_of_one_with_the_whole_batch(streets, tmp_path):
    """With random views; without what differs by design: batch statistics, dropout."""
    path = tmp_path / 'exact.py'
    path.write_text(EXACT.format(base=ROOT / TOY))
    weights = {}
    for processes, batch in ((1, 4), (2, 2)):
        work_dir = tmp_path / str(processes)
        run(
            *['tools/dist_train.sh', path, processes, '--work-dir', work_dir],
            *['--data-root', streets, '--seed', 3, '--no-auto-scale-lr'],
            *[*small_run(iterations=2), f'train_dataloader.batch_size={batch}'],
            PORT=free_port(),
        )
        weights[processes] = read_checkpoint(work_dir / 'iter_2.pth')['state_dict']
    for name, one in weights[1].items():
        torch.testing.assert_close(weights[2][name], one, rtol=1e-4, atol=5e-5)


EXACT = """
_base_ = ['{base}']
model = dict(
    norm_cfg=dict(_delete_=True, type='GN', num_groups=4),
    decode_head=dict(dropout_ratio=0.0, loss_decode=dict(avg_non_ignore=False)),
    auxiliary_head=None,
)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.1))
param_scheduler = []
"""


def test_what_is_validated_in_training_is_what_is_saved(streets, tmp_path):
    """Two processes normalise by statistics of their own until these are joined."""
    printed = run(
        *[
            'tools/dist_train.sh',
            TOY,
            2,
            '--work-dir',
            tmp_path,
            '--data-root',
            streets,
        ],
        *['--seed', 1, *small_run(iterations=6)],
        PORT=free_port(),
    )
    (validated,) = re.findall(r'Iter\(val\) \[3/3\].*mIoU: ([\d.]+)', printed)
    best = next(tmp_path.glob('best_mIoU_*.pth'))
    report = evaluate(best, streets, tmp_path / 'test', *small_run())
    assert report['mIoU'] == pytest.approx(float(validated), abs=2e-4)


def test_predicting_without_labels(streets, checkpoint, tmp_path):
    printed = run(
        *['tools/test.py', TOY, checkpoint, '--data-root', streets],
        *['--work-dir', tmp_path, '--out', tmp_path / 'out', *small_run()],
        'test_dataloader.dataset.data_prefix.seg_map_path=',
    )
    assert 'nothing was measured' in printed
    assert len(list((tmp_path / 'out').rglob('*.png'))) == 5
    assert not (tmp_path / 'metrics.json').exists()


def test_fine_tuning_on_a_folder_with_other_classes(streets, trained, tmp_path):
    for kind in ('images', 'labels'):
        for split in ('train', 'val'):
            (tmp_path / kind / split).mkdir(parents=True)
    for k, path in enumerate(sorted(streets.rglob('val/toy/*_leftImg8bit.png'))):
        split = 'train' if k < 3 else 'val'
        cv2.imwrite(str(tmp_path / f'images/{split}/{k}.jpg'), cv2.imread(str(path)))
        raw = str(path).replace('leftImg8bit', 'gtFine', 1)
        raw = cv2.imread(raw.replace('_leftImg8bit', '_gtFine_labelIds'), -1)
        label = np.where(raw == 7, 1, np.where(raw == 26, 2, 0)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f'labels/{split}/{k}.png'), label)
    printed = run(
        'tools/train.py',
        'configs/fastscnn/fast_scnn_finetune_folder.py',
        *['--data-root', tmp_path, '--work-dir', tmp_path / 'run'],
        *['--load-from', trained[0] / 'iter_4.pth', *small_run(iterations=2)],
        'model.data_preprocessor.size=(64,128)',
        'train_dataloader.dataset.pipeline.3.crop_size=(64,128)',
    )
    for line in [
        r'Classes taken over \(2\): road, vehicle \(from car\); starting fresh \(1\): ',
        r'of the checkpoint, not used \(17\): sidewalk, building',
        r'282 tensors loaded\.',
        r'The backbone is frozen until iteration 100\.',
        r'Iter\(train\) .*loss: ',
    ]:
        assert re.search(line, printed), line
    checkpoint = read_checkpoint(tmp_path / 'run/iter_2.pth')
    assert checkpoint['meta']['dataset_meta']['classes'][2] == 'vehicle'
    assert len(checkpoint['state_dict']['decode_head.conv_seg.bias']) == 3


@pytest.mark.parametrize(
    'words, message',
    [
        (['tools/train.py', 'no_config.py'], 'no_config.py is no file'),
        (
            ['tools/train.py', TOY, '--data-root', '/none'],
            '/none/leftImg8bit/train does',
        ),
        (
            ['tools/test.py', TOY, 'no.pth', '--data-root', '{streets}'],
            'no.pth does not',
        ),
        (
            ['tools/train.py', TOY, '--data-root', '{streets}', '--resume', 'no.pth'],
            'no.pth does not exist',
        ),
        (['tools/train.py', TOY, '--resume', 'a', '--load-from', 'b'], 'give one'),
        (['tools/train.py', TOY, '--seed', '-1'], '--seed is -1; it must be from 0'),
        (['tools/export.py', 'a.pth', '--images', '0'], '--images is 0; it must be at'),
        (['tools/export.py', 'a.pth', '--max-drop', 'nan'], '--max-drop is nan; it mu'),
        (
            ['tools/train.py', TOY, '--cfg-options', 'train_cfg=None'],
            'fast_scnn_toy_streets.py defines no train_cfg, which training needs',
        ),
        (
            ['tools/train.py', TOY, '--launcher', 'pytorch'],
            '--launcher pytorch is for processes that torchrun started',
        ),
        (
            ['tools/convert_config.py', TOY, 'new.py'],
            'is not a config of mmsegmentation 0.x',
        ),
    ],
)
def test_wrong_arguments(streets, tmp_path, words, message):
    words = [word.format(streets=streets) for word in words]
    if words[0] in ('tools/train.py', 'tools/test.py'):
        words += ['--work-dir', str(tmp_path)]
    printed = run(*words, ok=False)
    assert message in printed.strip().splitlines()[-1]


def test_a_bad_label_stops_training_with_its_name(streets, tmp_path):
    root = tmp_path / 'data'
    for part in ('leftImg8bit', 'gtFine'):
        for path in (streets / part).rglob('*.png'):
            copy = root / path.relative_to(streets)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    for path in root.rglob('train/toy/*_labelIds.png'):
        cv2.imwrite(str(path), np.full((64, 128), 99, np.uint8))
    printed = run(
        'tools/train.py',
        TOY,
        *['--data-root', root, '--work-dir', tmp_path, *small_run(workers=1)],
        ok=False,
    )
    assert re.search(
        r'99: 49,152 pixels in 6 labels, such as .*_gtFine_labelIds\.png\. Map each',
        printed.strip().splitlines()[-1],
    )
    (log,) = tmp_path.glob('*/*.log')
    assert 'Traceback (most recent call last)' in log.read_text()


def test_every_script_says_how_it_is_called():
    for tool in sorted((ROOT / 'tools').glob('*.sh')):
        assert f'tools/{tool.name} ' in run(f'tools/{tool.name}', ok=False)


def test_averaged_weights_train_and_are_tested(streets, tmp_path):
    """With `EMAHook`: fine-tuned from other classes, then both weights are tested."""
    config = tmp_path / 'ema.py'
    config.write_text(
        f'_base_ = {str(ROOT / TOY)!r}\n'
        f"custom_hooks = [dict(type='EMAHook', momentum=0.5)]\n"
    )
    start = tmp_path / 'start.pth'
    state = fill(MODELS.build(model_config(num_classes=2))).state_dict()
    meta = dict(dataset_meta=dict(classes=['road', 'car']))
    torch.save(dict(state_dict=state, meta=meta), start)
    places = ['--data-root', streets, '--work-dir', tmp_path]
    printed = run('tools/train.py', config, *places, '--load-from', start, *small_run())
    assert 'size mismatch' not in printed
    last = (tmp_path / 'last_checkpoint').read_text()
    reports = {}
    for name, options in [
        ('ema', []),
        ('raw', ['--weights', 'raw']),
        ('amp', ['--amp']),
    ]:
        run('tools/test.py', config, last, *places, *options, *small_run())
        kind = dict(ema='', raw='_raw', amp='_bfloat16')[name]
        reports[name] = metrics(tmp_path, kind)
    validated = re.findall(r'Iter\(val\) \[5/5\] +mIoU: ([\d.]+)', printed)
    assert reports['ema']['mIoU'] == pytest.approx(float(validated[-1]), abs=1e-3)
    assert reports['raw']['num_images'] == 5
    assert reports['amp']['dtype'] == 'bfloat16'
    assert reports['amp']['aAcc'] == pytest.approx(reports['ema']['aAcc'], abs=5)


def test_training_writes_the_packed_copy_and_reads_it(streets, tmp_path):
    losses = []
    for _ in range(2):
        printed = run(
            'tools/train.py',
            TOY,
            *['--work-dir', tmp_path / 'work', '--data-root', streets, '--seed', 1],
            *small_run(),
            f'train_dataloader.dataset.packed={tmp_path / "copy"}',
            *(['--overwrite'] if losses else []),
        )
        assert ('checkpoints of an earlier run removed' in printed) == bool(losses)
        losses.append(logged_losses(printed))
        said = re.search(r'packed copy of 6 images needs 0\.00 GiB', printed)
        assert bool(said) == (len(losses) == 1)
    assert losses[0] == losses[1] and len(losses[0]) == 4
    (copy,) = (tmp_path / 'copy').iterdir()
    records = struct.iter_unpack('<II', (copy / 'done.bin').read_bytes())
    assert sum(check != 0 for _, check in records) == 6


def test_benchmark_times_every_stage(streets, checkpoint):
    options = ['--data-root', streets, '--repeat', 3, '--dtype', 'bfloat16']
    printed = run('tools/benchmark.py', TOY, checkpoint, *options)
    rows = re.findall(r'^(\w[\w ]+?) +([\d.]+) +([\d.]+) +(\d+)%$', printed, re.M)
    times = {name: (float(p50), float(p95)) for name, p50, p95, _ in rows}
    stages = 'decode, preprocess, network, upsample and argmax, copy back, all'
    assert list(times) == stages.split(', ')
    assert all(0 <= p50 <= p95 for p50, p95 in times.values())
    assert times['all'][0] >= max(p50 for p50, _ in times.values())
    assert re.search(r'^images +64x128$', printed, re.M)
    assert re.search(r'^precision +bfloat16$', printed, re.M)
    assert re.search(r'^peak memory, MiB +[\d,]+$', printed, re.M)
