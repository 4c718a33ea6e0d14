"""What the scores of a report are called, on axes and in tables, and what the words mean."""

from pdejax.evaluate.report import Report


def labels(report: Report) -> dict[str, str]:
    """The scores by metric. The two relative errors differ in the modes they look at, and so in their names."""
    everywhere = ", all points" if report.common_shape else ""
    return {
        "common_relative_l2": "relative L2 error, common modes",
        "relative_l2": f"relative L2 error{everywhere}",
        "correlation": "correlation",
        "spectrum_error": "error of the power spectrum",
    }


def decisive(report: Report) -> str:
    """The name of the error that decides the comparison."""
    return labels(report)["common_relative_l2" if report.common_shape else "relative_l2"]


def legend(report: Report) -> dict[str, str]:
    """The words of the table, explained in a line each."""
    found = {}
    if report.common_shape:
        points = "x".join(map(str, report.common_shape))
        found["error, common modes"] = (
            f"relative L2 error |prediction - truth| / |truth| of the modes that {points} points hold, which every "
            "classical solver resolves. It decides the comparison: no solver is charged for modes that it does not have"
        )
        found["error, all points"] = "the same ratio on all points of the data; what a coarse solver lacks counts"
    else:
        found["error"] = "relative L2 error |prediction - truth| / |truth|"
    found["correlation"] = "Pearson correlation with the truth over all points; 1 is perfect"
    if any("spectrum_error" in result.scores for result in report.results.values()):
        found["spectrum error"] = (
            "root mean square of log(E / E of the truth) over the shells of the power spectrum E; 0.69: a factor of two"
        )
    found["corr. below 0.8 from"] = (
        "the first lead time at which the mean correlation is below 0.8; never, and the last lead time, where none is"
    )
    if report.of_kind("rival"):
        found["cost"] = "wall time per unit of simulated time and trajectory, the median over rounds, and its range"
        found["names of classical solvers"] = report.rivals_named
    if any(result.failed_at is not None for result in report.results.values()):
        found["failed at"] = (
            "the lead time at which the first trajectory was no longer finite, or of a classical solver about to "
            "overflow. A classical solver that fails anywhere in the data is not compared with"
        )
    found["persistence"] = "the initial state held fixed"
    return found
