"""The vision encoder, compiled while the eager one works, and only where what is still to come repays it.

Compiling takes minutes of the processor and is of use to full batches alone: one shape, one graph. It happens in a
thread of its own, so nothing waits for it; what the compiler made is kept for the next machine with the same GPU and
torch, which is ready in seconds. The decoder stays eager: what it does depends on the data, so it is not captured.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from gpuworker.models import Models
from gpuworker.process.threads import start_daemon

GAIN = 0.15
"""The share of an image's time that is taken to be saved; measure with benchmarks/gpu_sam3.py --compile."""
COMPILING_S, LOADING_S = 150.0, 25.0
"""With nothing kept, and with a former compilation's artefacts."""
WORTH = 2.0
"""Times what it costs: it takes processor time from decoding, and the count of what is to come is a guess."""
MOST_DIFFERENCE = 0.05
"""Of the eager numbers' size. Compiled code rounds elsewhere: in bfloat16 a per cent or two after 32 layers."""

Encoder = Callable[[torch.Tensor], Any]


def repays(items: int, *, seconds_each: float, is_kept: bool) -> bool:
    """Whether so many items save more time than compiling costs."""
    return items * seconds_each * GAIN > WORTH * (LOADING_S if is_kept else COMPILING_S)


def compiled_name(device: str, dtype: torch.dtype, batch_size: int, *, shape: str) -> str:
    """Under which artefacts are kept: whatever compiled code depends on, in letters that any store takes."""
    gpu = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device
    number_type = str(dtype).removeprefix("torch.")
    python = f"py{sys.version_info.major}.{sys.version_info.minor}"
    return re.sub(
        r"[^A-Za-z0-9._-]+", "-", f"sam3-{gpu}-torch{torch.__version__}-{python}-{number_type}-b{batch_size}-{shape}"
    )


class CompiledLater:
    """The vision encoder; eager for every batch that is not full, and for all until the compiled one is there."""

    def __init__(
        self,
        eager: Encoder,
        example: Callable[[], torch.Tensor],
        *,
        name: str,
        batch_size: int,
        seconds_each: float,
        models: Models,
        compiler: Callable[[Encoder], Encoder] | None = None,
    ) -> None:
        """`example` makes a full batch of normalised pixels on the device."""
        self._eager, self._example, self._compiler = eager, example, compiler or _inductor
        self._name, self._batch_size, self._seconds_each, self._models = name, batch_size, seconds_each, models
        self._compiled: Encoder | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.state = "eager"
        """For people: `eager`, `compiling`, `compiled`, or why it stays eager."""

    def __call__(self, pixels: torch.Tensor) -> Any:
        compiled = self._compiled
        return compiled(pixels) if compiled is not None and len(pixels) == self._batch_size else self._eager(pixels)

    def expect(self, items: int) -> None:
        """So many are to come: begin to compile where that repays it. Returns at once."""
        with self._lock:
            if self._thread is not None or items < self._batch_size:
                return
            if repays(items, seconds_each=self._seconds_each, is_kept=True):
                may_compile = repays(items, seconds_each=self._seconds_each, is_kept=False)
                self.state = "compiling"
                self._thread = start_daemon(partial(self._get, may_compile), name="compile")

    def wait(self, timeout_s: float) -> str:
        """Wait until what was begun has ended; the state then."""
        if (begun := self._thread) is not None:
            begun.join(timeout_s)
        return self.state

    def _get(self, may_compile: bool) -> None:
        """Use what another machine has compiled, or compile."""
        kept = self._models.kept(self._name)
        if kept or may_compile:
            self._compile(kept)
            return
        with self._lock:  # a later look may find more to do, or what another machine has kept since
            self.state, self._thread = "eager", None

    def _compile(self, kept: bytes | None) -> None:
        try:
            is_known = bool(kept and torch.compiler.load_cache_artifacts(kept))
            compiled = self._compiler(self._eager)
            with torch.inference_mode():
                example = self._example()
                difference = _difference(compiled(example), self._eager(example))
        except Exception as error:  # the compiler's own, a missing C compiler, no memory: eager it stays
            self.state = f"stays eager: {type(error).__name__}: {error}"[:500]
            return
        if not difference <= MOST_DIFFERENCE:  # NaN is not
            self.state = f"stays eager: compiled answers differ by {difference:.3f} of their size"
            return
        # A batch that would make the compiler start again, in the model's own thread, runs eagerly in its place.
        torch.compiler.set_stance("eager_on_recompile")
        self._compiled, self.state = compiled, "compiled"
        if not is_known and (made := torch.compiler.save_cache_artifacts()):
            self._models.keep(self._name, made[0])


def _inductor(eager: Encoder) -> Encoder:
    compiled: Encoder = torch.compile(eager, dynamic=False, fullgraph=True)
    return compiled


def _difference(compiled: Any, eager: Any) -> float:
    """The largest difference of any level of features, as a share of the eager ones' size (root of squares)."""
    pairs: Sequence[tuple[torch.Tensor, torch.Tensor]] = list(
        zip(compiled.fpn_hidden_states, eager.fpn_hidden_states, strict=True)
    )
    return max(float((one.float() - other.float()).norm() / other.float().norm()) for one, other in pairs)
