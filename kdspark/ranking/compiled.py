"""The inner loops of the top-k kernel that no array operation does well, compiled by numba.

A user's candidates are pairs of a score, which may be off by a known error, and an item_idx, in ascending item_idx. A
user's limit is the score below which an item cannot be among the k best; it rises as better ones are found.

Legend: B users of a tile, C capacity, M items of a tile, W words of 64 items, D dims, K list length, G groups,
X words of 64 lists.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

LOWEST = np.float32(np.finfo(np.float32).min)  # a limit that every score but -inf reaches
_HIGHEST = np.float32(np.inf)
EMPTY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_SIGN = np.uint32(0x8000_0000)
_LOW = np.uint64(0xFFFF_FFFF)
REASSOCIATE = {"reassoc", "contract"}


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compiled without the GIL, and kept on disk where there is a folder for it: a worker may have none."""

    def compile_it(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(nogil=True, **options)(function)

    return compile_it


@compiled()
def _kth_largest(values: Floats, n: int, k: int) -> Any:
    """Of the first n, 1 <= k <= n, which are left in another order (Hoare's selection)."""
    low, high, wanted = 0, n - 1, n - k
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                swapped = values[left]
                values[left] = values[right]
                values[right] = swapped
                left += 1
                right -= 1
        if wanted <= right:
            high = right
        elif wanted >= left:
            low = left
        else:
            break
    return values[wanted]


@compiled()
def _limit(kth: np.float32, error: np.float32, relative: np.float32) -> np.float32:
    """The least score that an item of the k best can have, if k items have at least the score `kth`.

    A score s stands for a true one within error + relative * |s|.
    """
    least = np.float64(kth) - relative * abs(np.float64(kth)) - 2.0 * np.float64(error)
    least = least / (1.0 + relative) if least > 0 else least / (1.0 - relative)
    below = np.float32(least)  # rounded to nearest: one step down makes it safe
    below = below - abs(below) * np.float32(2.0**-22)
    return max(below, LOWEST)


@compiled()
def _nearly_kth_largest(values: Floats, n: int, k: int, counts: npt.NDArray[np.int32]) -> np.float32:
    """A value that at least k of the first n reach, and few more: the least in the upper bins of a histogram.

    LOWEST where fewer than k are above -inf.
    """
    low, high, finite = _HIGHEST, LOWEST, 0
    for place in range(n):
        high = max(high, values[place])
        low = min(low, values[place] if values[place] >= LOWEST else low)
        finite += values[place] >= LOWEST
    if finite < k:
        return LOWEST
    if low == high or high == _HIGHEST:
        return low
    bins = len(counts)
    counts[:] = 0
    start = np.float64(low)  # float32 overflows where scores are far apart, or next to equal and tiny
    scale = bins / (np.float64(high) - start)
    for place in range(n):
        if values[place] >= LOWEST:
            counts[min(bins - 1, int((values[place] - start) * scale))] += 1
    chosen, reached = bins, 0
    while reached < k:
        chosen -= 1
        reached += counts[chosen]
    least = high
    for place in range(n):
        if values[place] >= LOWEST and min(bins - 1, int((values[place] - start) * scale)) >= chosen:
            least = min(least, values[place])
    return least


@compiled()
def _shrink(
    row: int,
    n: int,
    limit: np.float32,
    k: int,
    error_B: Floats,
    relative: float,
    exact: bool,
    scores_BC: Floats,
    items_BC: Ints,
    scratch: Floats,
    counts: npt.NDArray[np.int32],
) -> tuple[int, np.float32]:
    """Drop what cannot be among the k best of a row's n candidates: how many are left, and the new limit.

    With exact scores k are left, of equal ones those of the smallest item_idx, and the limit is above the k-th: an item
    that comes later loses its ties.
    """
    if n < k:
        return n, limit
    scores, items = scores_BC[row], items_BC[row]
    if exact:
        for place in range(n):
            scratch[place] = scores[place]
        kth = _kth_largest(scratch, n, k)
        raised, ties = kth, k
        for place in range(n):
            ties -= scores[place] > kth
        after = np.nextafter(kth, _HIGHEST)
    else:
        nearly = _nearly_kth_largest(scores, n, k, counts)
        raised = max(limit, _limit(nearly, error_B[row], np.float32(relative)))
        after, ties = raised, n
    kept = 0
    for place in range(n):
        score, equal = scores[place], scores[place] == raised
        scores[kept], items[kept] = score, items[place]
        kept += score > raised or (equal and ties > 0)
        ties -= equal
    return kept, after


@compiled()
def shrink(
    k: int,
    error_B: Floats,
    relative: float,
    exact: bool,
    scores_BC: Floats,
    items_BC: Ints,
    filled_B: npt.NDArray[np.int64],
    limits_B: Floats,
    scratch: Floats,
    counts: npt.NDArray[np.int32],
) -> None:
    """Drop what cannot be among each user's k best."""
    for row in range(len(filled_B)):
        n, limit = filled_B[row], limits_B[row]
        filled_B[row], limits_B[row] = _shrink(
            row, n, limit, k, error_B, relative, exact, scores_BC, items_BC, scratch, counts
        )


@compiled()
def first_limits(
    maxima_BG: Floats,
    k: int,
    error_B: Floats,
    relative: float,
    exact: bool,
    limits_B: Floats,
    counts: npt.NDArray[np.int32],
) -> None:
    """Limits from the largest scores of G disjoint groups of items, G >= k."""
    groups = maxima_BG.shape[1]
    for row in range(len(maxima_BG)):
        kth = _nearly_kth_largest(maxima_BG[row], groups, k, counts)
        limits_B[row] = max(kth, LOWEST) if exact else _limit(kth, error_B[row], np.float32(relative))


@compiled()
def _lowest_bit(word: np.uint64) -> int:
    """Its place, by halving."""
    lowest = word & (~word + np.uint64(1))
    place = 0
    if lowest & np.uint64(0xFFFF_FFFF_0000_0000):
        place += 32
    if lowest & np.uint64(0xFFFF_0000_FFFF_0000):
        place += 16
    if lowest & np.uint64(0xFF00_FF00_FF00_FF00):
        place += 8
    if lowest & np.uint64(0xF0F0_F0F0_F0F0_F0F0):
        place += 4
    if lowest & np.uint64(0xCCCC_CCCC_CCCC_CCCC):
        place += 2
    if lowest & np.uint64(0xAAAA_AAAA_AAAA_AAAA):
        place += 1
    return place


@compiled()
def _withheld(subject_X: npt.NDArray[np.uint64], withheld_X: npt.NDArray[np.uint64]) -> bool:
    both = np.uint64(0)
    for word in range(len(subject_X)):
        both |= subject_X[word] & withheld_X[word]
    return bool(both)


@compiled()
def withhold(
    tile_BW: npt.NDArray[Any],
    first: int,
    subject_BX: npt.NDArray[np.uint64],
    withheld_MX: npt.NDArray[np.uint64],
    nothing: Any,
    alike: npt.NDArray[np.int64],
) -> None:
    """Set the scores of what is withheld to `nothing`.

    Args:
        alike: all rows, those subject to the same lists side by side: for them items are looked up once.
        subject_BX: the lists that a user is subject to: list i is bit i % 64 of word i // 64.
        withheld_MX: the lists that withhold an item.
    """
    columns = np.empty(tile_BW.shape[1], np.int32)
    n, last = 0, np.int64(-1)
    for row in alike:
        if last < 0 or (subject_BX[row] != subject_BX[last]).any():
            n, last = 0, row
            for column in range(tile_BW.shape[1]):
                columns[n] = column
                n += _withheld(subject_BX[row], withheld_MX[first + column])
        for place in range(n):
            tile_BW[row, columns[place]] = nothing


@compiled()
def collect(
    passed_BW: npt.NDArray[np.uint64],
    tile_BX: npt.NDArray[np.uint16],
    parts: int,
    first: int,
    k: int,
    error_B: Floats,
    relative: float,
    exact: bool,
    scores_BC: Floats,
    items_BC: Ints,
    filled_B: npt.NDArray[np.int64],
    limits_B: Floats,
    scratch: Floats,
    counts: npt.NDArray[np.int32],
    subject_BX: npt.NDArray[np.uint64],
    withheld_MX: npt.NDArray[np.uint64],
) -> None:
    """Add the items whose bits are set, as far as they still reach the limit and are not withheld from the user.

    Where more than three quarters of the capacity remain after dropping what can be dropped, the scores are too coarse
    to tell: the user's limit becomes infinite, and the user is to be scanned with finer ones.

    Args:
        passed_BW: bit c % 64 of word c // 64 for item `first` + c.
        tile_BX: the scores as 16-bit words, `parts` to a score: 2 of a float32, 1 of a bfloat16, which is the upper
            half of one.
        subject_BX, withheld_MX: bits of lists, see `withhold`.
    """
    capacity = scores_BC.shape[1]
    value = np.empty(1, np.float32)
    bits = value.view(np.uint32)
    for row in range(passed_BW.shape[0]):
        filled, limit = filled_B[row], limits_B[row]
        for column in range(passed_BW.shape[1]):
            word = passed_BW[row, column]
            while word != np.uint64(0):
                place = column * 64 + _lowest_bit(word)
                word = word & (word - np.uint64(1))
                bits[0] = np.uint32(tile_BX[row, (place + 1) * parts - 1]) << np.uint32(16)
                if parts == 2:
                    bits[0] |= np.uint32(tile_BX[row, place * 2])
                if value[0] < limit or _withheld(subject_BX[row], withheld_MX[first + place]):
                    continue
                scores_BC[row, filled] = value[0]
                items_BC[row, filled] = first + place
                filled += 1
                if filled == capacity:
                    filled, limit = _shrink(
                        row, filled, limit, k, error_B, relative, exact, scores_BC, items_BC, scratch, counts
                    )
                    if filled > capacity // 4 * 3:
                        filled, limit = 0, _HIGHEST
        filled_B[row], limits_B[row] = filled, limit


@compiled(fastmath=REASSOCIATE)
def _score_again(
    user_D: Floats, items_MD: Floats, items: Ints, n: int, scores: Floats, exact_D: npt.NDArray[Any]
) -> None:
    """In float64, rounded once; numba may add in any order, which the rounding makes as good as never visible."""
    dims = len(user_D)
    for dim in range(dims):
        exact_D[dim] = user_D[dim]
    for place in range(n):
        item, total = items[place], np.float64(0)
        for dim in range(dims):
            total += exact_D[dim] * items_MD[item, dim]
        scores[place] = np.float32(total)


@compiled()
def candidate_keys(
    users_BD: Floats,
    items_MD: Floats,
    exact: bool,
    scores_BC: Floats,
    items_BC: Ints,
    filled_B: npt.NDArray[np.int64],
    keys_BC: npt.NDArray[np.uint64],
) -> None:
    """Keys whose ascending order is score descending, item ascending; EMPTY behind them.

    Scores that are not exact are computed again from the vectors.
    """
    value = np.empty(1, np.float32)
    bits = value.view(np.uint32)
    exact_D = np.empty(users_BD.shape[1], np.float64)
    sign = np.uint32(0x8000_0000)
    for row in range(keys_BC.shape[0]):
        n = filled_B[row]
        if not exact:
            _score_again(users_BD[row], items_MD, items_BC[row], n, scores_BC[row], exact_D)
        for place in range(n):
            value[0] = scores_BC[row, place] + np.float32(0)  # -0 is 0
            falling = bits[0] if bits[0] & sign else ~(bits[0] | sign)
            keys_BC[row, place] = (np.uint64(falling) << np.uint64(32)) | np.uint64(items_BC[row, place])
        for place in range(n, keys_BC.shape[1]):
            keys_BC[row, place] = EMPTY


def decode(keys: npt.NDArray[np.uint64]) -> tuple[Ints, Floats]:
    """(items, scores) of keys; empty ones give -1 and -inf."""
    falling = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(falling & _SIGN, falling, ~falling & ~_SIGN)
    empty = keys == EMPTY
    scores = np.where(empty, np.float32(-np.inf), bits.view(np.float32))
    return np.where(empty, -1, (keys & _LOW).astype(np.int64)).astype(np.int32), scores
