"""Exact samplers: chains over the survivors of a ticket, by blackjax over a density in JAX.

JAX is imported below this package only, so that nothing else waits for it. A job has one thread, as
the workflow gives it, unless the environment says otherwise.
"""

import os

os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
