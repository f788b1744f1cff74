"""The comparison of sweeps as a W&B report, and as a saved view of the project's workspace.

W&B draws from the runs themselves, found by their group and config; what it has no chart for (rankings with intervals,
paired comparisons) comes as ready Markdown. This module knows names only: of groups, config keys and summary metrics.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tinyrm.errors import ConfigError, TinyRMError

log = logging.getLogger(__name__)

STEP = "trainer/global_step"
_CURVES = ("train/loss", "dev/loss", "dev/accuracy", "dev/order_consistent")
_COSTS = ("pairs_per_second", "parameters/trained", "seconds/train")
_WIDE = {"x": 0, "w": 24, "h": 10}
_LONGEST_TITLE = 128  # W&B's limit
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -.")


@dataclass(frozen=True)
class Story:
    """What is compared, by the names its runs carry in W&B.

    Attributes:
        title: of the report and of the workspace view.
        groups: of the sweeps (by default a sweep's name is its group), in the order of the run sets.
        factors: config keys that vary, dotted as `adapter.rank`; the first orders the bars.
        sections: of the test, as in `test/chat/accuracy`.
        markdown: our tables, put before the charts.
        metric: the summary metric by which runs are ranked.
        logarithmic: of the factors, those to be drawn so.
        curves: what is logged while training.
    """

    title: str
    groups: Sequence[str]
    factors: Sequence[str]
    sections: Sequence[str] = ()
    markdown: str = ""
    metric: str = "dev/accuracy"
    logarithmic: Sequence[str] = ()
    curves: Sequence[str] = field(default=_CURVES)


@dataclass(frozen=True)
class Published:
    """Where it can be read: addresses of the report and of the workspace view."""

    report: str
    workspace: str


def publish(story: Story, *, project: str = "tinyrm", entity: str | None = None, draft: bool = False) -> Published:
    """Save the report and the workspace view to W&B.

    Args:
        story: what is compared.
        project: where its runs are.
        entity: the project's user or team; None takes the key's own.
        draft: save the report as a draft, which only its author sees.

    Raises:
        ConfigError: a package is missing, or W&B takes no key.
        TinyRMError: W&B refused or did not answer.
    """
    _imported()
    import wandb

    try:
        owner = entity or str(wandb.Api().default_entity)
        report = build_report(story, project, owner)
        report.save(draft=draft)
        workspace = build_workspace(story, project, owner)
        workspace.save()
    except wandb.errors.UsageError as error:
        raise ConfigError(f"the report needs W&B: {error} (`wandb login`, or WANDB_API_KEY).") from error
    except Exception as error:  # what its client raises has no base in common
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TinyRMError(f"W&B did not take the report: {reason}") from error
    return Published(report.url, workspace.url)


def build_report(story: Story, project: str, entity: str) -> Any:
    """The report as `wandb_workspaces` describes it, unsaved.

    Args:
        story: what is compared.
        project, entity: where its runs are.

    Raises:
        ConfigError: the package is missing.
    """
    wr, _ = _imported()

    def grid(*panels: Any) -> Any:
        sets = [_runset(story, group, project, entity) for group in story.groups]
        return wr.PanelGrid(runsets=sets, panels=list(panels))

    blocks = [
        wr.MarkdownBlock(text=story.markdown) if story.markdown else wr.P(text=""),
        wr.H2(text="Which choice mattered"),
        grid(*_choices(story)),
        wr.H2(text="Each section of the test"),
        grid(*_results(story)),
        wr.H2(text="How they learnt, and what it cost"),
        grid(*_learning(story), *_costs(story)),
        wr.H2(text="Run by run"),
        grid(wr.RunComparer(diff_only="split", layout=wr.Layout(**_WIDE))),
    ]
    named = ", ".join(story.groups)
    return wr.Report(
        project=project,
        entity=entity,
        title=story.title[:_LONGEST_TITLE],
        description=f"Sweeps: {named}",
        blocks=blocks,
        width="fluid",
    )


def build_workspace(story: Story, project: str, entity: str) -> Any:
    """The same charts as a view of the workspace, unsaved.

    Raises:
        ConfigError: the package is missing.
    """
    _, ws = _imported()
    columns = [f"summary:{story.metric}", *(f"config:{factor}" for factor in story.factors)]
    return ws.Workspace(
        project=project,
        entity=entity,
        name=story.title,
        sections=[
            ws.Section(name="Which choice mattered", panels=_choices(story), is_open=True),
            ws.Section(name="Each section of the test", panels=_results(story), is_open=True),
            ws.Section(name="How they learnt, and what it cost", panels=[*_learning(story), *_costs(story)]),
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP),
        runset_settings=ws.RunsetSettings(
            filters=" or ".join(f"({_filter(group)})" for group in story.groups),
            order=[ws.Ordering(ws.Summary(story.metric), ascending=False)],
            pinned_columns=columns,
        ),
    )


def _runset(story: Story, group: str, project: str, entity: str) -> Any:
    wr, _ = _imported()
    return wr.Runset(
        project=project,
        entity=entity,
        name=group,
        filters=_filter(group),
        order=[wr.OrderBy(wr.SummaryMetric(story.metric), ascending=False)],
    )


def _filter(group: str) -> str:
    """Training runs of a group. In a string: the objects of `wandb_workspaces` do not escape quotes."""
    return f"Metric('Group') == {_literal(group)} and Config('job_type') == 'train'"


def _literal(text: str) -> str:
    """A Python literal in which `wandb_workspaces`, which edits operators by regex before it parses, finds none."""
    return "'" + "".join(c if c in _PLAIN else f"\\U{ord(c):08x}" for c in text) + "'"


def _choices(story: Story) -> list[Any]:
    wr, _ = _imported()
    columns = [
        wr.ParallelCoordinatesPlotColumn(metric=wr.Config(f), log=f in story.logarithmic or None) for f in story.factors
    ]
    columns.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(story.metric)))
    bars = [
        wr.BarPlot(
            title=f"{story.metric} by {factor}",
            metrics=[wr.SummaryMetric(story.metric)],
            groupby=wr.Config(factor),
            groupby_aggfunc="mean",
            groupby_rangefunc="stderr",
        )
        for factor in story.factors
    ]
    return [
        wr.ParallelCoordinatesPlot(columns=columns, layout=wr.Layout(**_WIDE)),
        wr.ParameterImportancePlot(with_respect_to=story.metric),
        *bars,
    ]


def _results(story: Story) -> list[Any]:
    wr, _ = _imported()
    return [
        wr.BarPlot(
            title=f"{name}: accuracy, and what the length rules get",
            metrics=[wr.SummaryMetric(f"test/{name}/{m}") for m in ("accuracy", "longer_wins", "shorter_wins")],
            range_x=(0.0, 1.0),
        )
        for name in ("overall", *story.sections)
    ]


def _learning(story: Story) -> list[Any]:
    wr, _ = _imported()
    return [wr.LinePlot(title=name, x=STEP, y=[name]) for name in story.curves]


def _costs(story: Story) -> list[Any]:
    wr, _ = _imported()
    accuracy = wr.SummaryMetric(story.metric)
    return [wr.ScatterPlot(title=f"{story.metric} by {c}", x=wr.SummaryMetric(c), y=accuracy) for c in _COSTS]


def _imported() -> tuple[Any, Any]:
    """`wandb_workspaces.reports.v2` and `.workspaces`.

    Raises:
        ConfigError: they are not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ModuleNotFoundError as error:
        raise ConfigError('a W&B report needs its package: pip install "tinyrm[report]"') from error
    return wr, ws
