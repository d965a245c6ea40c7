"""An estimate of false-alarm rates beyond what the number of calibration images can promise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError

Floats = npt.NDArray[np.float64]

# Share of the scores that are the tail, and the fewest that make one.
_TAIL_SHARE = 0.2
_FEWEST_IN_TAIL = 10
_RESAMPLES = 1000
# Of the interval that is stated.
CONFIDENCE = 0.9
#: Calibration images from which on a tail can be fitted.
FEWEST_IMAGES = round(_FEWEST_IN_TAIL / _TAIL_SHARE)


@dataclass(frozen=True, eq=False)
class TailFit:
    """A generalised Pareto distribution fitted to the highest scores of good parts.

    Peaks over threshold: above a high score, the excesses of nearly any distribution are close to
    a generalised Pareto distribution (Pickands, "Statistical Inference Using Extreme Order
    Statistics", Annals of Statistics 3, 1975; Balkema & de Haan, Annals of Probability 2, 1974).
    Its parameters are estimated by probability-weighted moments, which are steadier than maximum
    likelihood for samples this small (Hosking & Wallis, "Parameter and Quantile Estimation for the
    Generalized Pareto Distribution", Technometrics 29, 1987).

    It extrapolates: an estimate, which no conformal argument backs.

    Parameters
    ----------
    scores
        (n,) of the calibration images.

    Raises
    ------
    ParameterError
        If there are too few scores, or the highest are all the same.
    """

    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.scores) < FEWEST_IMAGES:
            raise ParameterError(
                f"estimate: {len(self.scores)} calibration images are too few to fit the tail of "
                f"their scores; it needs {FEWEST_IMAGES}"
            )
        if not self._fit[2] > 0:
            raise ParameterError(
                "estimate: the highest calibration scores are the same, so that they have no tail"
            )

    @cached_property
    def _fit(self) -> tuple[float, float, float]:
        start, shape, scale = _fitted(np.sort(np.asarray(self.scores, np.float64))[np.newaxis])
        return float(start[0]), float(shape[0]), float(scale[0])

    @cached_property
    def _resampled(self) -> tuple[Floats, Floats, Floats]:
        scores = np.asarray(self.scores, np.float64)
        chosen = np.random.default_rng(0).integers(0, len(scores), (_RESAMPLES, len(scores)))
        return _fitted(np.sort(scores[chosen], axis=1))

    @property
    def in_tail(self) -> int:
        """How many scores the tail was fitted to."""
        return _in_tail(len(self.scores))

    @property
    def highest_rate(self) -> float:
        """The share of good parts in the tail: only below it there is an estimate."""
        return self.in_tail / len(self.scores)

    @property
    def shape(self) -> float:
        """The shape of the distribution: below 0 its scores end, above 0 its tail is heavy."""
        return self._fit[1]

    def threshold(self, false_alarm_rate: float) -> float:
        """Return the score that this share of good parts is estimated to exceed.

        Raises
        ------
        ParameterError
            If the rate is not in (0, `highest_rate`].
        """
        if not 0 < false_alarm_rate <= self.highest_rate:
            raise ParameterError(
                f"false-alarm rate {false_alarm_rate}: an estimate is for rates up to "
                f"{self.highest_rate:.3g}; leave --estimate out"
            )
        from scipy.special import boxcox

        start, shape, scale = self._fit
        return start - scale * float(boxcox(false_alarm_rate / self.highest_rate, -shape))

    def rate(self, threshold: float) -> float:
        """Return the estimated share of good parts above a score that lies in the tail."""
        start, shape, scale = self._fit
        return float(
            self._rates(threshold, np.array([start]), np.array([shape]), np.array([scale]))[0]
        )

    def rate_interval(self, threshold: float) -> tuple[float, float]:
        """Return the interval of that share, by fits to resampled scores (bootstrap, 90 %)."""
        rates = self._rates(threshold, *self._resampled)
        low, high = np.quantile(rates, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
        return float(low), float(high)

    def _rates(self, threshold: float, start: Floats, shape: Floats, scale: Floats) -> Floats:
        # The generalised Pareto distribution; `scipy.stats` has it, and takes a second to import.
        from scipy.special import inv_boxcox

        excess = np.maximum((threshold - start) / scale, 0)
        with np.errstate(divide="ignore"):
            end = np.where(shape < 0, -1 / shape, np.inf)
        return np.asarray(self.highest_rate * inv_boxcox(-np.minimum(excess, end), -shape))


def _in_tail(count: int) -> int:
    return max(_FEWEST_IN_TAIL, round(_TAIL_SHARE * count))


def _fitted(samples: Floats) -> tuple[Floats, Floats, Floats]:
    """Return start, shape and scale of the tail of each sample (samples, n), which is sorted."""
    count = samples.shape[1]
    tail = _in_tail(count)
    start = samples[:, count - tail - 1]
    excesses = samples[:, count - tail :] - start[:, np.newaxis]
    mean = excesses.mean(axis=1)
    # The mean of an excess times the probability that another is larger; unbiased.
    weights = np.arange(tail - 1, -1, -1) / (tail - 1)
    weighted = (excesses * weights).mean(axis=1)
    apart = np.maximum(mean - 2 * weighted, np.finfo(np.float64).tiny)
    shape = 2 - mean / apart
    # Below -1 the density would grow without bound towards the end.
    shape = np.clip(shape, -0.99, 0.99)
    return start, shape, mean * (1 - shape)
