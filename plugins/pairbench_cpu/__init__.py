"""Machine code for small convolutions, and a faster backward pass for Elman networks, on a CPU."""

import pairbench
from pairbench_cpu.batch_last import BatchLast
from pairbench_cpu.elman import ElmanBackward


@pairbench.hookimpl
def pairbench_accelerators() -> list[pairbench.Accelerator]:
    """The bundled accelerators."""
    return [BatchLast(), ElmanBackward()]
