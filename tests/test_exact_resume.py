"""A run that was killed and went on ends in the same bits as an unbroken one.

The runs are processes of their own, and those that are killed die by SIGKILL.
"""

import json
import os
import re
import shutil
import signal
import zlib
from pathlib import Path

import pytest
import torch
from conftest import CPU, ROOT, TOY, free_port
from forked import forks
from mmengine.config import Config
from mmengine.hooks import Hook

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets.toy_streets import write_toy_streets
from mmseg_fastscnn.engine.runner import SegRunner

SIZE = (64, 64)
COMMON = {
    'train_dataloader.dataset.pipeline.3.crop_size': SIZE,
    'model.data_preprocessor.size': SIZE,
    'model.decode_head.dropout_ratio': 0.2,
    'train_dataloader.batch_size': 2,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'default_hooks.logger.interval': 2,
    'default_hooks.checkpoint.interval': 2,
    'default_hooks.checkpoint.max_keep_ckpts': 9,
    'optim_wrapper.optimizer.lr': 0.01,
}
ITERATIONS = {
    'train_cfg.max_iters': 8,
    'train_cfg.val_interval': 3,
    'optim_wrapper.accumulative_counts': 3,  # a file of 2, 4, 8 has gradients
    'optim_wrapper.clip_grad': dict(max_norm=1.0),
    'randomness': dict(seed=None, diff_rank_seed=True),
    'custom_hooks': [
        dict(type='EMAHook', momentum=0.1),
        dict(type='EarlyStoppingHook', monitor='mIoU', patience=9, min_delta=99.0),
        dict(type='FreezeBackboneHook', iterations=5),
    ],
}
EPOCHS = {  # of 3 iterations and 7 images
    'train_cfg': dict(type='EpochBasedTrainLoop', max_epochs=3, _delete_=True),
    'train_dataloader.sampler': dict(type='DefaultSampler', shuffle=True),
    'train_dataloader.drop_last': True,
    'train_dataloader.dataset.pipeline.5': dict(type='RandomFlip', prob=0.5),
    'model.data_preprocessor.photometric': {},
    'optim_wrapper.type': 'AmpOptimWrapper',
    'optim_wrapper.optimizer.type': 'MuonAdamW',
    'optim_wrapper.paramwise_cfg': dict(custom_keys=dict(conv_seg=dict(muon=False))),
    'randomness': dict(seed=3),
}


class KillItself(Hook):
    """End the process as a failure of the machine would.

    It ends after so many iterations: in the validation there, or in the next iteration.
    """

    priority = 'LOWEST'

    def __init__(self, iteration: int):
        self.iteration = iteration

    def before_train_iter(self, runner, *args, **kwargs) -> None:
        if runner.iter == self.iteration:
            os.kill(os.getpid(), signal.SIGKILL)

    before_val_iter = before_train_iter


class WriteImages(Hook):
    """Write which images are in each batch, with sums of what the network is given."""

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        model = getattr(runner.model, 'module', runner.model)
        inputs = model.data_preprocessor(data_batch, True)['inputs']
        paths = [Path(s.img_path).name for s in data_batch['data_samples']]
        sums = [zlib.crc32(image.contiguous().numpy()) for image in inputs]
        with Path(runner.work_dir, f'images_{runner.rank}.jsonl').open('a') as file:
            file.write(json.dumps([runner.iter, *zip(paths, sums, strict=True)]) + '\n')


def train(streets, work_dir, options, resume, kill_at, rank, processes, port) -> None:
    """One process of a run."""
    torch.set_num_threads(1)
    # which is formatted anew for each file, for a second
    Config.pretty_text = property(lambda config: 'model = dict()')
    with Path(f'{work_dir}.{rank}.txt').open('a') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    options = dict(COMMON, **options)
    workers = options.pop('workers', 0)
    options['train_dataloader.num_workers'] = workers
    config = load_config(ROOT / TOY, options, str(streets), str(work_dir))
    config.resume = resume
    if processes > 1:
        place = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=processes)
        place |= dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        os.environ.update({key: str(value) for key, value in place.items()})
        config.launcher = 'pytorch'
    runner = SegRunner.from_cfg(config)
    runner.register_hook(WriteImages())
    if kill_at is not None:
        runner.register_hook(KillItself(kill_at))
    runner.train()


@pytest.fixture(scope='module')
def start(tmp_path_factory):
    """A function that runs the processes of a run to their end."""
    streets = tmp_path_factory.mktemp('seven streets')
    write_toy_streets(streets, SIZE, num_train=7, num_val=2)
    context = forks()

    def run(work_dir, options, resume=False, kill_at=None, processes=1) -> Path:
        port = free_port()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in CPU.items():
                patch.setenv(name, value)
            running = []
            for rank in range(processes):
                given = (streets, work_dir, options, resume, kill_at)
                given += (rank, processes, port)
                running.append(context.Process(target=train, args=given))
                running[-1].start()
        for process in running:
            process.join(240)
            if process.is_alive():
                process.kill()
                pytest.fail('a process hangs')
        expected = 0 if kill_at is None else -signal.SIGKILL
        said = Path(f'{work_dir}.0.txt').read_text()
        assert {p.exitcode for p in running} == {expected}, said
        return work_dir

    return run


def logged(work_dir: Path) -> dict:
    """All numbers of the log but times, by iteration; the last of each counts."""
    lines = {}
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in map(json.loads, file.read_text().splitlines()):
            of_validation = any(key == 'mIoU' or 'val/' in key for key in line)
            kind = 'val' if of_validation else 'train'
            lines.setdefault((kind, line['step']), {}).update(
                (k, v)
                for k, v in line.items()
                if 'time' not in k and k not in ('memory', 'eta')
            )
    return lines


def images(work_dir: Path) -> dict[int, list]:
    """The images of each iteration, of all processes together."""
    batches = {}
    for file in sorted(work_dir.glob('images_*.jsonl')):
        of_process = {k: batch for k, *batch in map(json.loads, file.open())}
        for iteration, batch in of_process.items():
            batches.setdefault(iteration, []).extend(batch)
    return {iteration: sorted(batch) for iteration, batch in batches.items()}


def assert_same(ours: object, theirs: object, place: str = '') -> None:
    """Compare to the last bit, in all but times, folders and the config's text."""
    if isinstance(ours, dict):
        names = [ours.keys() - OTHERS, theirs.keys() - OTHERS]
        assert names[0] == names[1], place
        for key in names[0]:
            assert_same(ours[key], theirs[key], f'{place}.{key}')
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), place
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other, f'{place}[]')
    elif isinstance(ours, torch.Tensor):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs), place
    else:
        assert ours == theirs, place


OTHERS = {'train/time', 'train/data_time', 'val/time', 'val/data_time', 'time', 'eta'}
OTHERS |= {'cfg', 'experiment_name', 'mmengine_version'}
OTHERS |= {'last_ckpt', 'best_ckpt', 'keep_ckpt_ids'}  # names of files


def assert_same_run(whole: Path, broken: Path, last: str, begin: int = 0) -> None:
    """Compare a whole run with one that was broken, from an iteration on."""
    folders = (whole, broken)
    assert_same(*[torch.load(d / f'{last}.pth', weights_only=True) for d in folders])
    expected = {k: v for k, v in images(whole).items() if k >= begin}
    assert images(broken) == expected and len(expected) > 1
    expected = {k: v for k, v in logged(whole).items() if k[1] > begin}
    assert logged(broken) == expected and len(expected) > 1
    best = [[f.name for f in folder.glob('best_*')] for folder in folders]
    assert best[0] == best[1] and best[0]


def test_iterations_go_on_exactly(start, tmp_path):
    """Without a seed; killed twice, in a copied folder and by other workers."""
    whole = start(tmp_path / 'whole', ITERATIONS)
    broken = tmp_path / 'broken'
    broken.mkdir()  # what is left in a copy of the folder, if it is killed after 4
    for name in ('iter_2.pth', 'iter_4.pth', 'best_mIoU_iter_3.pth'):
        if (whole / name).exists():
            shutil.copy(whole / name, broken)
    (broken / 'last_checkpoint').write_text(str(whole / 'iter_4.pth'))
    start(broken, {**ITERATIONS, 'workers': 2}, resume=True, kill_at=5)
    start(broken, {**ITERATIONS, 'workers': 0}, resume=True, kill_at=6)
    start(broken, {**ITERATIONS, 'workers': 4}, resume=True)
    assert_same_run(whole, broken, 'iter_8', begin=4)
    amid, end = [torch.load(whole / f'iter_{k}.pth', weights_only=True) for k in (4, 8)]
    assert end['meta']['early_stopping']['wait_count'] > 0
    assert amid['ranks'][0]['gradients'] and not end['ranks'][0]['gradients']


def test_epochs_go_on_exactly(start, tmp_path):
    """Killed amid the second epoch, and in the validation after it."""
    options = {**EPOCHS, 'workers': 2}
    whole = start(tmp_path / 'whole', options)
    broken = start(tmp_path / 'broken', {**EPOCHS, 'workers': 0}, kill_at=5)
    by_epoch = {'default_hooks.checkpoint': dict(by_epoch=True, interval=1)}
    start(broken, {**options, **by_epoch}, resume=True, kill_at=6)
    assert (broken / 'epoch_2.pth').exists()
    start(broken, {**EPOCHS, 'workers': 0}, resume=True)
    assert_same_run(whole, broken, 'iter_8')
    assert logged(whole).keys() >= {('val', 3), ('val', 6), ('val', 9)}
    assert sorted(images(whole)) == list(range(9))


def test_processes_share_one_order_of_images(start, tmp_path):
    """Two of 2 images are one of 4; two go on exactly, or as one."""
    options = {
        'train_cfg.max_iters': 6,
        'train_cfg.val_interval': 4,
        'model.data_preprocessor.photometric': {},
        'randomness': dict(seed=3),
    }
    four = {**options, 'train_dataloader.batch_size': 4}
    one = start(tmp_path / 'one', four)
    two = start(tmp_path / 'two', options, processes=2)
    assert images(one) == images(two) and sorted(images(one)) == list(range(6))
    assert len({tuple(map(tuple, batch)) for batch in images(one).values()}) == 6
    broken = start(tmp_path / 'broken', options, kill_at=3, processes=2)
    elastic = tmp_path / 'elastic'
    shutil.copytree(broken, elastic)
    start(broken, options, resume=True, processes=2)
    assert_same_run(two, broken, 'iter_6')
    # before a validation, which joins them, each has statistics of its own
    ranks = torch.load(two / 'iter_2.pth', weights_only=True)['ranks']
    assert len(ranks) == 2
    name = next(key for key in ranks[0]['buffers'] if key.endswith('running_mean'))
    assert not ranks[0]['buffers'][name].equal(ranks[1]['buffers'][name])
    for file in elastic.glob('*.jsonl'):
        file.unlink()
    start(elastic, four, resume=True)
    assert images(elastic) == {k: images(one)[k] for k in (2, 3, 4, 5)}
    said = (tmp_path / 'elastic.0.txt').read_text()
    assert 'run before had 2 processes, this one has 1' in said


def test_averaged_weights_may_begin_and_end_with_a_resume(start, tmp_path):
    """Averaging changes no trained weights, so these are the same with and without."""
    plain = {'train_cfg.max_iters': 4, 'randomness': dict(seed=3)}
    averaged = {**plain, 'custom_hooks': [dict(type='EMAHook', momentum=0.5)]}
    expected = start(tmp_path / 'plain', plain)
    ends = start(tmp_path / 'ends', {**averaged, 'train_cfg.max_iters': 2})
    begins = tmp_path / 'begins'
    begins.mkdir()
    shutil.copy(expected / 'iter_2.pth', begins)
    start(ends, plain, resume=True)
    start(begins, averaged, resume=True)
    files = [
        torch.load(folder / 'iter_4.pth', weights_only=True)
        for folder in (expected, ends, begins)
    ]
    assert_same(files[0]['state_dict'], files[1]['state_dict'])
    assert_same(files[0]['optimizer'], files[2]['optimizer'])
    trained = files[2]['ema_state_dict']
    assert trained.pop('steps') == 2
    trained = {name.removeprefix('module.'): value for name, value in trained.items()}
    assert_same(files[0]['state_dict'], trained)
    said = Path(f'{ends}.0.txt').read_text()
    assert (
        'goes on from the trained weights' in said and 'ema_state_dict' not in files[1]
    )
    assert 'no `ema_state_dict` in checkpoint' in Path(f'{begins}.0.txt').read_text()


def test_a_checkpoint_between_log_lines_tells_of_bad_steps(start, tmp_path):
    """Processes ask each other for the images, while only the first one writes."""
    options = {
        'train_cfg.max_iters': 4,
        'train_cfg.val_interval': 4,
        'default_hooks.logger.interval': 50,
        'optim_wrapper.optimizer.lr': 1e30,
        'randomness': dict(seed=3),
    }
    folder = start(tmp_path / 'run', options, processes=2)
    said = (tmp_path / 'run.0.txt').read_text()
    told = re.search(r'Left out, not finite: iteration 2, .*; images (.*)', said)[1]
    assert len(told.split(', ')) == 4  # of both processes
    hub = torch.load(folder / 'iter_2.pth', weights_only=True)['message_hub']
    assert hub['log_scalars']['train/loss'][0].isfinite().tolist() == [True, False]
