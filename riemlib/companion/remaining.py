"""How much time a run of notebooks has left."""

import time
from collections.abc import Iterable, Mapping


class Left:
    """The time that a run has left, by the seconds that each of its notebooks took before; None where that is not known.

    They may be those of another machine. So they are scaled by what the notebooks that are finished took in this run.
    """

    def __init__(self, before: Mapping[str, float | None], jobs: int):
        self.before, self.jobs = dict(before), jobs
        self.starts: dict[str, float] = {}
        self.took: dict[str, float] = {}

    def began(self, names: Iterable[str]) -> None:
        for name in names:
            self.starts.setdefault(name, time.perf_counter())

    def ended(self, name: str, seconds: float) -> None:
        self.took[name] = seconds

    def seconds(self) -> float | None:
        """The sum over the notebooks that remain, shared among those that run at a time; at least the longest of them."""
        now, known = time.perf_counter(), {name: seconds for name, seconds in self.before.items() if seconds}
        waited = {name: now - self.starts.get(name, now) for name in self.before if name not in self.took}
        if set(waited) - set(known):
            return None
        finished = [name for name in self.took if name in known]
        scale = sum(self.took[name] for name in finished) / sum(known[name] for name in finished) if finished else 1.0
        remain = [max(scale * known[name] - seconds, 0.0) for name, seconds in waited.items()]
        return max(sum(remain) / self.jobs, max(remain, default=0.0))

    def whole(self, run: str) -> str:
        """What is said at the start. `run`: the one whose times are used, "last" or "published"."""
        seconds = self.seconds()
        return "the first run, so how long it takes is not known" if seconds is None else f"{about(seconds)}, as the {run} run took"

    def text(self) -> str:
        """What is said during the run. Empty where the time is not known."""
        seconds = self.seconds()
        return "" if seconds is None else f"{about(seconds)} left"


def about(seconds: float) -> str:
    """A duration in words, to the minute."""
    return "less than a minute" if seconds < 60 else f"about {seconds / 60:.0f} min"
