"""`cortex rollout`: the live configuration, seen by every worker within a second."""

import typer

from ops import rollout_check, rollout_run, rollout_set, rollout_steps, rollout_view

app = typer.Typer(no_args_is_help=True, help="How much traffic goes to treatment, and its stages.")

app.command("show")(rollout_view.show)
app.command("history")(rollout_view.history)
app.command("status")(rollout_view.status)
app.command("set")(rollout_set.set_fields)
app.command("stage")(rollout_steps.stage)
app.command("promote")(rollout_steps.promote)
app.command("pause")(rollout_steps.pause)
app.command("resume")(rollout_steps.resume)
app.command("rollback")(rollout_steps.rollback)
app.command("run")(rollout_run.run)
app.command("check")(rollout_check.check)
