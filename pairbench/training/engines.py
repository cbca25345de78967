"""Chooses the engine, precision and compilation for the rounds of a config, as requested or by timing a few steps."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pairbench.config.run_config import RunConfig, canonical, id_of
from pairbench.environment import machine, processor_flags, user_cache
from pairbench.errors import MismatchError
from pairbench.model.pair_model import PairModel, build_model
from pairbench.store.atomic import replace_file
from pairbench.store.locks import waiting_for
from pairbench.store.record import core_source
from pairbench.text import one_line
from pairbench.training.acceleration import suitable, usable
from pairbench.training.loop import Loop, Outcome, RoundSplits
from pairbench.training.sampling import batch_slices
from pairbench.training.stacked import NotStackable, Optimizers, Stacked, why_not

STEPS = 9
# Below this much work, measuring costs more than it saves.
WORTH_MEASURING_SECONDS = 2.0
# Noise decides a closer race, and equal commands should make equal choices.
CLEARLY_FASTER = 1.08
COMPILE_SECONDS = 30.0

SplitsOf = Callable[[int], RoundSplits]
# Calls, and how often each is repeated -> the seconds of each.
Clock = Callable[[Sequence[Callable[[], object]], int], list[float]]
OnEpoch = Callable[[int, int, float, float | None], None]


@dataclass(frozen=True)
class Choice:
    """How the rounds of a config are trained and why; the milliseconds of a step of a round, where measured."""

    engine: str
    precision: str
    compiled: bool
    why: str
    loop_ms: float | None = None
    stacked_ms: float | None = None
    bf16_ms: float | None = None
    compiled_ms: float | None = None

    def environment(self) -> dict[str, Any]:
        """Its part of a record's environment."""
        return {
            "engine": self.engine,
            "engine_why": self.why,
            "precision": self.precision,
            "compiled": self.compiled,
        }

    def cost(self) -> dict[str, float]:
        """The milliseconds that were measured, by name."""
        names = ("loop_ms", "stacked_ms", "bf16_ms", "compiled_ms")
        return {name: round(value, 4) for name in names if (value := getattr(self, name)) is not None}

    def applied(self, config: RunConfig) -> RunConfig:
        """`config` with the precision and compilation that were chosen."""
        chosen = {"precision": self.precision, "compile": "on" if self.compiled else "off"}
        return replace(config, train=config.train.model_copy(update=chosen))


@dataclass(frozen=True)
class Trained:
    """A round that is over: how it was trained, and its outcome and models, or the error that ended it."""

    number: int
    choice: Choice
    outcome: Outcome | None = None
    models: tuple[PairModel, ...] = ()
    error: BaseException | None = None


def settle(
    config: RunConfig,
    device: torch.device,
    numbers: Sequence[int],
    splits_of: SplitsOf,
    path: Path,
    clock: Clock | None = None,
) -> Choice:
    """The result of `choose`, measured once for all processes that share `path`, and once for a config on a machine.

    Measuring each time would let equal commands give results with different bits.
    """
    chosen = remembered(path)
    if chosen is not None:
        return chosen
    with waiting_for(path.with_suffix(".lock")):
        chosen = remembered(path)
        if chosen is None:
            known = _known(config, device)
            chosen = remembered(known) or _choose_anyhow(config, device, numbers, splits_of, clock)
            if chosen.loop_ms is not None:
                with contextlib.suppress(OSError):
                    known.parent.mkdir(parents=True, exist_ok=True)
                    remember(chosen, known)
            if len(numbers) > 1:
                remember(chosen, path)
    return chosen


def _known(config: RunConfig, device: torch.device) -> Path:
    """The file that stores the measured choice for `config` on this machine."""
    what = id_of(config.flat(), config.locations())
    parts = [
        what,
        str(device),
        torch.get_num_threads(),
        machine(),
        processor_flags(),
        [(name, accelerator.fingerprint()) for name, accelerator in usable().items()],
        core_source(),
    ]
    return user_cache("engines") / f"{hashlib.sha256(canonical(parts).encode()).hexdigest()[:24]}.json"


def _choose_anyhow(
    config: RunConfig, device: torch.device, numbers: Sequence[int], splits_of: SplitsOf, clock: Clock | None
) -> Choice:
    try:
        return choose(config, device, numbers, config.train.rounds, splits_of, clock)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - training will show what is wrong, and record it
        return one_by_one(config, f"could not measure: {_line(error)}")


def one_by_one(config: RunConfig, reason: str) -> Choice:
    """The engine `loop` with the options of `config`, for `reason`."""
    precision = "bf16" if config.train.precision == "bf16" else "fp32"
    return Choice("loop", precision, config.train.compile == "on", reason)


def remembered(path: Path) -> Choice | None:
    """The choice that `remember` wrote to `path`; None if the file is missing, damaged, or for something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Choice(**found["choice"]) if found["checksum"] == _checksum(path, found["choice"]) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def remember(choice: Choice, path: Path) -> None:
    """Write `choice` to `path`, whole or not at all."""
    content = asdict(choice)
    text = json.dumps({"choice": content, "checksum": _checksum(path, content)})
    replace_file(path, text.encode(), sync=False)


def _checksum(path: Path, content: Any) -> str:
    """The checksum of `content` and of the file's name, which says what the choice was measured for."""
    return hashlib.sha256(canonical([path.name, content]).encode()).hexdigest()


def choose(
    config: RunConfig,
    device: torch.device,
    numbers: Sequence[int],
    rounds: int,
    splits_of: SplitsOf,
    clock: Clock | None = None,
) -> Choice:
    """The engine, precision and compilation for `rounds` rounds of `config`, of which `numbers` are trained now.

    `clock` measures steps, `median_seconds` if it is None.

    Raises:
        MismatchError: this machine does not support what was requested.
    """
    train = config.train
    if train.compile == "on":
        check_compiler()
    precision = "fp32" if train.precision == "auto" else train.precision
    plain = Choice("loop", precision, train.compile == "on", "asked")
    if train.engine == "stacked":
        reason = why_not(config)
        return replace(plain, engine="stacked") if not reason else replace(plain, why=f"cannot stack: {reason}")
    reason = "only one round" if len(numbers) < 2 else why_not(config)
    stackable = train.engine == "auto" and not reason and train.compile != "on"
    if train.engine == "loop":
        reason = "asked"
    elif train.compile == "on":
        reason = "compiled"
    open_questions = stackable or train.precision == "auto" or train.compile == "auto"
    if not open_questions:
        return replace(plain, why=reason)
    return _measured(config, device, numbers, rounds, splits_of, plain, stackable, reason, clock or median_seconds)


def _measured(
    config: RunConfig,
    device: torch.device,
    numbers: Sequence[int],
    rounds: int,
    splits_of: SplitsOf,
    plain: Choice,
    stackable: bool,
    reason: str,
    clock: Clock,
) -> Choice:
    """`plain`, improved by what timing a few steps of each way shows."""
    train = config.train
    splits = {number: splits_of(number) for number in (numbers if stackable else numbers[:1])}
    first = splits[numbers[0]]
    steps = train.epochs * len(batch_slices(len(first.train), train.batch_size)) * train.members
    loop = _loop_step(plain.applied(config), device, numbers[0], first)
    once = clock([loop], 2)[0]
    if once * steps * rounds < WORTH_MEASURING_SECONDS:
        return replace(plain, why=reason or "too little work to measure")
    ways, seconds, taken = {"loop_ms": loop}, {"loop_ms": once}, "loop_ms"
    if train.precision == "auto" and neutral_in_bf16(config, device):
        half = replace(plain, precision="bf16")
        ways["bf16_ms"] = _loop_step(half.applied(config), device, numbers[0], first)
        seconds = _raced(ways, clock)
        if seconds["loop_ms"] > CLEARLY_FASTER * seconds["bf16_ms"]:
            plain, taken = half, "bf16_ms"
    engine = "loop"
    if stackable:
        try:
            step = _stacked_step(plain.applied(config), device, splits)
            step()
            seconds |= _raced({taken: ways[taken], "stacked_ms": step}, clock)
            seconds["stacked_ms"] /= len(splits) * train.members
            if seconds[taken] > CLEARLY_FASTER * seconds["stacked_ms"]:
                engine = "stacked"
        except (NotStackable, RuntimeError, TypeError, ValueError) as error:
            reason = f"cannot stack: {_line(error)}"
    elif len(ways) == 1:
        seconds = _raced(ways, clock)
    milliseconds: dict[str, Any] = {name: 1000 * value for name, value in seconds.items()}
    choice = replace(plain, engine=engine, why=reason or "measured", **milliseconds)
    if engine == "stacked":
        return choice
    best = seconds[taken]
    left = best * steps
    # Compiled, all of the network would be in bf16, and not what an accelerator multiplies alone.
    same = plain.precision == train.precision or plain.precision == "fp32" or train.normalize == "standard"
    if train.compile == "auto" and same and left > 4 * COMPILE_SECONDS and compiler():
        return _maybe_compiled(choice, config, device, numbers[0], first, best, steps, clock)
    return choice


def _maybe_compiled(
    choice: Choice,
    config: RunConfig,
    device: torch.device,
    number: int,
    splits: RoundSplits,
    best: float,
    steps: int,
    clock: Clock,
) -> Choice:
    """`choice`, compiled if that saves more time than compiling costs."""
    compiled = replace(choice, compiled=True)
    try:
        started = time.perf_counter()
        step = _loop_step(compiled.applied(config), device, number, splits)
        step()
        spent = time.perf_counter() - started
        once = clock([step], STEPS)[0]
    except Exception:  # noqa: BLE001 - the compiler may fail in any way, and plain training still works
        return choice
    choice = replace(choice, compiled_ms=1000 * once)
    return replace(choice, compiled=True) if spent + once * steps < best * steps / CLEARLY_FASTER else choice


def neutral_in_bf16(config: RunConfig, device: torch.device) -> bool:
    """Whether bf16 is known to leave the metrics unchanged.

    That is with standardised images, and with any where an accelerator says so of its own products in bf16.
    """
    half = config.train.model_copy(update={"precision": "bf16"})
    if config.train.normalize == "standard":
        return True
    return any(item.neutral_in_bf16 for item in suitable(build_model(config), half, device).values())


def compiler() -> bool:
    """Whether torch.compile has the C++ compiler that it needs on a CPU."""
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


def check_compiler() -> None:
    """Refuse to compile without a compiler.

    Raises:
        MismatchError: there is none.
    """
    if not torch.cuda.is_available() and not compiler():
        raise MismatchError("train.compile=on needs a C++ compiler, but none was found. Install g++, or set it to off.")


def train_rounds(
    config: RunConfig,
    device: torch.device,
    choice: Choice,
    numbers: Sequence[int],
    splits_of: SplitsOf,
    on_epoch: OnEpoch | None = None,
) -> Iterator[Trained]:
    """Train the rounds `numbers` and yield each as soon as it is over; one that fails does not stop the others."""
    done: set[int] = set()
    if choice.engine == "stacked":
        try:
            for trained in _stacked(config, device, choice, list(numbers), splits_of, on_epoch):
                done.add(trained.number)
                yield trained
        except Exception as error:  # noqa: BLE001 - trained one by one, only the rounds at fault fail
            choice = replace(choice, engine="loop", why=f"stacked failed: {_line(error)}")
    engine = Loop(choice.applied(config), device)
    for number in numbers:
        if number in done:
            continue
        try:
            outcome = engine.run(number, splits_of(number), _for_round(on_epoch, number))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit too
            yield Trained(number, choice, error=error)
            continue
        yield Trained(number, choice, outcome, tuple(engine.models))


def _stacked(
    config: RunConfig,
    device: torch.device,
    choice: Choice,
    numbers: list[int],
    splits_of: SplitsOf,
    on_epoch: OnEpoch | None,
) -> Iterator[Trained]:
    """The rounds `numbers` at once, or half of them at a time if memory does not suffice."""
    engine = Stacked(choice.applied(config), device)
    done = 0
    try:
        splits: Mapping[int, RoundSplits] = {number: splits_of(number) for number in numbers}
        for number, outcome in engine.run(splits, on_epoch):
            done += 1
            yield Trained(number, choice, outcome, tuple(engine.models))
        return
    except torch.OutOfMemoryError:
        left = numbers[done:]
        if len(left) < 2:
            raise
    del engine, splits
    if device.type == "cuda":
        torch.cuda.empty_cache()
    half = math.ceil(len(left) / 2)
    smaller = replace(choice, why=f"{half} rounds at once, since {len(left)} need more memory than there is")
    yield from _stacked(config, device, smaller, left[:half], splits_of, on_epoch)
    yield from _stacked(config, device, smaller, left[half:], splits_of, on_epoch)


def _for_round(on_epoch: OnEpoch | None, number: int) -> Callable[[int, float, float | None], None] | None:
    if on_epoch is None:
        return None
    return lambda epoch, loss, accuracy: on_epoch(number, epoch, loss, accuracy)


def _loop_step(config: RunConfig, device: torch.device, number: int, splits: RoundSplits) -> Callable[[], object]:
    stepper = Loop(config, device).stepper(number, splits)
    return lambda: next(stepper)


def _stacked_step(config: RunConfig, device: torch.device, splits: Mapping[int, RoundSplits]) -> Callable[[], object]:
    engine = Stacked(config, device)
    stack = engine.prepare({number: part.train for number, part in splits.items()})
    stepper = engine.stepper(stack, Optimizers(stack, config, 1))
    return lambda: next(stepper)


def _raced(ways: Mapping[str, Callable[[], object]], clock: Clock) -> dict[str, float]:
    """The median seconds of each way, by its name."""
    return dict(zip(ways, clock(list(ways.values()), STEPS), strict=True))


def median_seconds(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """The median seconds of each call after one to warm up; the calls take turns.

    Each is timed right after another call of the same kind, because a training step finds the caches as its last step
    left them. A single thread is timed by its processor time, so that other load on the machine does not matter.
    """
    for call in calls:
        call()
    # The first calls may have initialised CUDA.
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    clock = time.process_time if torch.get_num_threads() == 1 and not on_gpu else time.perf_counter
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, taken in zip(calls, seconds, strict=True):
            call()
            if on_gpu:
                torch.cuda.synchronize()
            started = clock()
            call()
            if on_gpu:
                torch.cuda.synchronize()
            taken.append(clock() - started)
    return [statistics.median(taken) for taken in seconds]


def _line(error: BaseException) -> str:
    words = one_line(error)
    return words if len(words) <= 160 else words[:157] + "..."
