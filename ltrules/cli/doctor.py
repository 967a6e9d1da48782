"""`ltrules doctor`: what this machine can do, and what to install."""

from __future__ import annotations

import dataclasses
import json
import sys

import click

from ltrules.cli.loading import wants_color
from ltrules.engines.features import probe_features, require_engine
from ltrules.errors import EngineUnavailable


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Say what this machine can do, and what to do about what it lacks.

    Exit status: 0 if rules can run here, 3 if not.
    """
    features = probe_features()
    try:
        require_engine()
        reason = ""
    except EngineUnavailable as error:
        reason = str(error)
    if as_json:
        click.echo(
            json.dumps({"can_run": not reason, "reason": reason, "features": [dataclasses.asdict(f) for f in features]})
        )
    else:
        color = wants_color(sys.stdout)
        width = max(len(f.name) for f in features)
        for feature in features:
            mark = "yes" if feature.present else "no"
            shown = click.style(f"{mark:<3}", fg="green" if feature.present else "yellow") if color else f"{mark:<3}"
            click.echo(f"{shown} {feature.name:<{width}}  {feature.detail}".rstrip())
            if not feature.present and feature.advice:
                click.echo(f"    {'':<{width}}  -> {feature.advice}")
        click.echo()
        click.echo(reason or "Rules can run here, with the libbpf engine.")
    if reason:
        sys.exit(3)
