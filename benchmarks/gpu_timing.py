"""How the steps of `gpu.py` time a call, and what they see of it on the GPU."""

import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from gpu_steps import Setting


def finish(at: Setting) -> None:
    if at.device == 'cuda':
        torch.cuda.synchronize()


def latencies(at: Setting, call: Callable[[], object], images: int) -> dict:
    """Time calls: p50 and p95 in ms of one, images per second of many."""
    seconds, least = (0.05, 2) if at.quick else (0.5, 10)
    for _ in range(least):
        call()
    finish(at)
    if at.device == 'cuda':  # kernels that cuDNN tried first took more
        torch.cuda.reset_peak_memory_stats()
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        finish(at)
        times.append(time.perf_counter() - began)
    began = time.perf_counter()
    for _ in times:
        call()
    finish(at)
    rate = images * len(times) / (time.perf_counter() - began)
    p50, p95 = map(float, 1e3 * np.percentile(times, [50, 95]))
    return dict(p50_ms=p50, p95_ms=p95, images_per_s=rate)


def watched(
    at: Setting, call: Callable[[], object], seconds: float, count: int = 5
) -> dict:
    """Count what a call does on the GPU: its kernels, waits of the host, busy share.

    Args:
        at: How the step runs.
        call: The call.
        seconds: What a call takes without a profiler, which slows the host.
        count: How many calls are looked at.
    """
    if at.device == 'cpu':
        return {}
    torch.cuda.set_sync_debug_mode('warn')
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        call()
    torch.cuda.set_sync_debug_mode('default')
    waits = sum('synchroniz' in str(warning.message) for warning in said)
    finish(at)
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(count):
            call()
        finish(at)
    spans = sorted(
        (event.time_range.start, event.time_range.end, event.name)
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
        and not getattr(event, 'is_user_annotation', False)
    )
    if not spans:
        return dict(waits=waits, kernels='not seen', busy='not seen')
    busy, end = 0.0, spans[0][0]
    for start, stop, _ in spans:  # those of several streams may overlap
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    kernels = sum(not name.startswith('Mem') for *_, name in spans) / count
    return dict(waits=waits, kernels=kernels, busy=busy / 1e6 / count / seconds)


def peak(at: Setting) -> dict:
    if at.device == 'cpu':
        return {}
    return dict(peak_mib=torch.cuda.max_memory_allocated() / 2**20)
