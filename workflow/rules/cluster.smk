# What happens before the first job; not in a dry run, nor inside a job.
from bayesian_lottery import cluster


# One Snakemake a folder (workflow/profiles/default has `nolock`: Snakemake's own lock outlives a
# kill), and no jobs that a killed one has left, so that no two write the same files. Then SLURM is
# asked whether it will take the jobs.
onstart:
    try:
        cluster.check_writable(Path(config["results"]))
        cluster.hold(Path(".snakemake/running"))
        on_slurm = workflow.executor_plugin.name == "slurm"
        if orphans := cluster.cancel_orphans(Path(), must_answer=on_slurm):
            print(
                f"Cancelled the jobs of an earlier run: {', '.join(orphans)}.", file=sys.stderr
            )
        if on_slurm:
            from bayesian_lottery import submission

            queued = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
            if news := submission.prepare(workflow.scheduler._executor, queued):
                logger.info(news)
    except InputError as error:
        raise WorkflowError(str(error)) from None
