"""The jackknife by brute force, for what the library computes from influences."""

from collections.abc import Callable

import numpy as np


def leave_one_out(statistic: Callable[[np.ndarray], np.ndarray], groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What bootstrap.lesion_jackknife is near to: `statistic` of the weights [G, N] that leave each group out in turn.

    A stratum of one group is the same in every resample, whatever the statistic would be without it.
    """
    names, first = np.unique(groups, return_index=True)
    values = statistic((groups != names[:, None]).astype(float))
    changes = np.zeros(len(names))
    for label in np.unique(labels):
        stratum = labels[first] == label
        if (count := stratum.sum()) > 1:
            # Without one of n, each of the others counts n / (n - 1) as much.
            changes[stratum] = (values[stratum] - values[stratum].mean()) * (count - 1) / count
    return changes
