"""One finding each about a measured quantity, and how findings add up to a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from perennial.gates._paired import Paired
from perennial.types import Outcome, Verdict

NO_PASS: tuple[Outcome, ...] = ("fail", "inconclusive")


@dataclass(frozen=True)
class Finding:
    outcome: Outcome
    reason: str


def verdict(gate: str, findings: Sequence[Finding], figures: Mapping[str, float]) -> Verdict:
    """Fails where one finding does, and passes where all do; the findings that decided are the reason."""
    outcomes = {finding.outcome for finding in findings}
    outcome: Outcome = next((one for one in NO_PASS if one in outcomes), "pass")
    return Verdict(gate, outcome, "; ".join(f.reason for f in findings if f.outcome == outcome), figures)


def together(findings: Sequence[Finding], what: str) -> Finding:
    """Many as one: the first that fails, or else the first that is inconclusive, and how many more do."""
    for outcome in NO_PASS:
        found = [finding for finding in findings if finding.outcome == outcome]
        if found:
            others = f"; and {len(found) - 1} more of {len(findings)} {what}" if found[1:] else ""
            return Finding(outcome, found[0].reason + others)
    return Finding("pass", f"{len(findings)} {what} kept")


def too_few(gate: str, name: str, texts: int, least: int) -> Verdict:
    reason = f"{name}: {texts} different texts, and at least {least} are needed"
    return Verdict(gate, "inconclusive", reason, {f"{name}.texts": texts})


def not_worse(name: str, paired: Paired, margin: float, alpha: float) -> Finding:
    """Non-inferiority: is the candidate surely behind by less than `margin`?"""
    seen = f"{name}: {_describe(paired, alpha)}, where a drop of {100 * margin:g} points is allowed"
    if paired.low(alpha) > -margin:
        return Finding("pass", seen)
    if paired.high(alpha) < -margin:
        return Finding("fail", seen)
    return Finding("inconclusive", seen + _advice(paired.more(lambda more: more.low(alpha) > -margin)))


def better(name: str, paired: Paired, alpha: float) -> Finding:
    """Superiority: would an equal candidate hardly ever look this good?"""
    seen = f"{name}: {_describe(paired, alpha)}"
    if _is_better(paired, alpha):
        return Finding("pass", f"{seen}, better (p = {paired.p_better():.2g})")
    if _is_better(paired.flipped(), alpha):
        return Finding("fail", f"{seen}, worse (p = {paired.flipped().p_better():.2g})")
    advice = _advice(paired.more(lambda more: _is_better(more, alpha)))
    return Finding("inconclusive", f"{seen}, not surely better (p = {paired.p_better():.2g}){advice}")


def below(what: str, low: float, high: float, limit: float) -> Finding:
    """Is a quantity with this interval surely below its limit, or surely above?"""
    seen = f"{what} in [{low:.4g}, {high:.4g}], and at most {limit:g} is allowed"
    if high <= limit:
        return Finding("pass", seen)
    return Finding("fail" if low > limit else "inconclusive", seen)


def share_below(what: str, count: int, of: int, limit: float, alpha: float) -> Finding:
    """`below` of a share, by the exact interval of Clopper and Pearson."""
    share = binomtest(count, of).proportion_ci(1 - 2 * alpha)
    return below(what, share.low, share.high, limit)


def paired_figures(name: str, paired: Paired, alpha: float) -> dict[str, float]:
    """The difference with its interval of confidence 1 - 2 `alpha`, and both one-sided exact p-values."""
    return {
        f"{name}.texts": paired.texts,
        f"{name}.ahead": paired.ahead,
        f"{name}.behind": paired.behind,
        f"{name}.difference": paired.difference,
        f"{name}.low": paired.low(alpha),
        f"{name}.high": paired.high(alpha),
        f"{name}.p_better": paired.p_better(),
        f"{name}.p_worse": paired.flipped().p_better(),
    }


def _describe(paired: Paired, alpha: float) -> str:
    low, high = 100 * paired.low(alpha), 100 * paired.high(alpha)
    return (
        f"{100 * paired.difference:+.1f} points [{low:+.1f}, {high:+.1f}] on {paired.texts:.0f} texts "
        f"({paired.ahead:.0f} better, {paired.behind:.0f} worse)"
    )


def _is_better(paired: Paired, alpha: float) -> bool:
    return paired.difference > 0 and paired.p_better() <= alpha


def _advice(more: int | None) -> str:
    if more is None:
        return "; more such texts would not settle it"
    return f"; about {float(f'{more:.2g}'):.0f} more such texts would settle it"
