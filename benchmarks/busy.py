"""Time a training step beside busy programs, with threads that spin and that sleep.

    .venv/bin/python benchmarks/busy.py

A step of 8 images of 288x384 in float32, median of 8, in a process of its own: alone,
beside one program that does nothing but count, and beside two of them.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
SIZE, IMAGES, WARM_UP, STEPS = (288, 384), 8, 2, 8
# without the variable, libgomp spins for a while and sleeps then
POLICIES = {'default': {}, 'passive': {'OMP_WAIT_POLICY': 'passive'}}


def main() -> None:
    if sys.argv[1:] == ['one']:
        print(f'{seconds_of_step():.2f}')
        return
    for others in range(3):
        busy = [
            subprocess.Popen([sys.executable, '-c', 'while True: pass'])
            for _ in range(others)
        ]
        try:
            for policy, env in POLICIES.items():
                command = [sys.executable, __file__, 'one']
                said = subprocess.check_output(
                    command, env={**os.environ, **env}, text=True
                )
                print(f'{others} busy programs, {policy}: {said.strip()} s')
        finally:
            for process in busy:
                process.kill()


def seconds_of_step() -> float:
    import torch

    from mmseg_fastscnn import FastSCNN

    model = FastSCNN(num_classes=11).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images = torch.randint(0, 256, (IMAGES, 3, *SIZE), dtype=torch.uint8)
    labels = torch.randint(0, 11, (IMAGES, *SIZE))
    taken = []
    for _ in range(WARM_UP + STEPS):
        began = time.perf_counter()
        loss = model.loss(images, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[WARM_UP:])


if __name__ == '__main__':
    main()
