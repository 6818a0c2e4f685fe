"""How many cores there are for this process. Imports nothing heavy, so all may."""

import os

# How many processes the launcher started on this machine: torchrun, Open MPI, MPICH.
PROCESSES_HERE = ('LOCAL_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_SIZE', 'MPI_LOCALNRANKS')


def cores_per_process() -> int:
    """Return how many cores each process of this run may use, at least 1.

    torchrun and MPI set how many processes they started on this machine, Slurm how many
    cores a task has, whether or not the task is bound to them.
    """
    if hasattr(os, 'sched_getaffinity'):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    for name in PROCESSES_HERE:
        if name in os.environ:
            return max(cores // int(os.environ[name]), 1)
    return min(cores, int(os.environ.get('SLURM_CPUS_PER_TASK', cores)))
