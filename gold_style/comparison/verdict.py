"""What a leaderboard says in one sentence: whether the style was learned, and which settings can be told apart.

Example: `sentence(leaderboard(runs))` is "2 of 3 settings learned the style; beta: 0.3 and 0.5 cannot be told apart, both beat 1".
"""

from gold_style.comparison.leaderboard import Entry, Leaderboard, difference_p, short_names, value_text

ALPHA = 0.05  # of a p, corrected for all pairs of settings, below which two are told apart
MOST_NAMES, MOST_SETTINGS = 4, 3


def sentence(board: Leaderboard) -> str:
    """The sentence of a leaderboard. Settings that are not told apart from the best beat another one if each of them does."""
    scored = [entry for entry in board.entries if entry.margin is not None]
    learned = [entry for entry in scored if entry.code == "learned"]
    if not learned:
        unsure = not scored or any(entry.code == "unknown" for entry in scored)
        return f"no run {'is known to have' if unsure else 'has'} learned the style"
    text = f"{len(learned)} of {len(scored)} setting{'s' if len(scored) > 1 else ''} learned the style"
    tested = [entry for entry in scored[1:] if entry.p_corrected is not None]
    ties = [scored[0], *(entry for entry in tested if entry.p_corrected >= ALPHA)]
    beaten = [entry for entry in tested if entry.p_corrected < ALPHA and all(beats(tie, entry, len(scored)) for tie in ties[1:])]
    found = [f"{listed(ties)} cannot be told apart"] if len(ties) > 1 else []
    found += [f"{ {1: f'{listed(ties)} beats', 2: 'both beat'}.get(len(ties), 'all beat') } {listed(beaten)}"] if beaten else []
    name = f"{short_names(board.varied)[0]}: " if len(board.varied) == 1 else ""
    return f"{text}; {name}{', '.join(found)}" if found else text


def beats(better: Entry, other: Entry, settings: int) -> bool:
    """Whether two of so many settings can be told apart."""
    p = difference_p(better.contributions(), other.contributions())
    return p is not None and p * settings * (settings - 1) / 2 < ALPHA


def listed(entries: list[Entry]) -> str:
    """Entries by the value of the setting that varied, or by all of them: "0.3, 0.5 and 1"; by their ranks where many varied."""
    short = [f"#{entry.rank}" if entry.rank and len(entry.settings) > MOST_SETTINGS else f"({entry.name})" for entry in entries]
    names = [value_text(*entry.settings.values()) if len(entry.settings) == 1 else name for entry, name in zip(entries, short, strict=True)]
    if len(names) > MOST_NAMES:
        names = [*names[: MOST_NAMES - 1], f"{len(names) - MOST_NAMES + 1} others"]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
