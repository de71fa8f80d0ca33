"""Whether the demo's report has something to show: run in the folder of the demo, it fails with what it has not."""

from pathlib import Path

import pandas as pd

TABLES = Path("reports/tables")


def table(name: str) -> pd.DataFrame:
    """A table of the report by its first column."""
    return pd.read_csv(TABLES / f"{name}.csv", index_col=0)


models = table("compare/comparison")
best = models.drop(index="always_nv").iloc[0]
scores = models["balanced_accuracy"]
strategies = table("balance/strategies")["validation_balanced_accuracy"]
losses = table("compare/calibration").set_index("way", append=True)["nll"]["mobilenet_v2_fine_tuned"]
leaks = table("leakage/changes").query("part == 'all' and metric == 'balanced_accuracy'")["change"]
claims = {
    f"the best model has a balanced accuracy of {best['balanced_accuracy']:.3f}": best["balanced_accuracy"] >= 0.6,
    f"its interval begins at {best['balanced_accuracy_low']:.3f}": best["balanced_accuracy_low"] > 2 / 7,
    f"fine-tuned against frozen: {scores['mobilenet_v2_fine_tuned']:.3f}, {scores['mobilenet_v2']:.3f}": (
        scores["mobilenet_v2_fine_tuned"] > scores["mobilenet_v2"]
    ),
    f"class weights against none: {strategies['balanced_weights']:.3f}, {strategies['none']:.3f}": (
        strategies["balanced_weights"] > strategies["none"]
    ),
    f"log-likelihood with vector scaling against without: {losses['vector']:.3f}, {losses['as_trained']:.3f}": (
        losses["vector"] < losses["as_trained"]
    ),
    f"the leak changes the scores by {', '.join(f'{leak:+.3f}' for leak in leaks)}": bool((leaks > 0).all()),
}
for claim, holds in claims.items():
    print("ok  " if holds else "FAIL", claim)
raise SystemExit(0 if all(claims.values()) else 1)
