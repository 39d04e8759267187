# What happens before the first job; not in a dry run, nor inside a job.
from bayesian_lottery import gpus
from bayesian_lottery.running import cluster

# Where jobs run on this machine, as many use a GPU at once as it has, unless `--resources gpu=N` says
# how many. On a cluster, to which `--jobs` belongs, each node looks after its own.
on_this_machine = workflow.is_main_process and workflow.global_resources["_nodes"].value is None
if on_this_machine and "gpu" not in workflow.global_resources and gpus.visible_gpus():
    workflow.register_resource("gpu", len(gpus.visible_gpus()))


# One Snakemake a folder (workflow/profiles/default has `nolock`: Snakemake's own lock outlives a
# kill), and no jobs that a killed one has left, so that no two write the same files. Then SLURM is
# asked whether it will take the jobs.
onstart:
    try:
        cluster.check_writable(Path(RESULTS))
        cluster.hold(Path(".snakemake/running"))
        on_slurm = workflow.executor_plugin.name == "slurm"
        if orphans := cluster.cancel_orphans(Path(), must_answer=on_slurm):
            print(
                f"Cancelled the jobs of an earlier run: {', '.join(orphans)}.", file=sys.stderr
            )
        if on_slurm:
            from bayesian_lottery.running import submission

            queued = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
            if news := submission.prepare(workflow.scheduler._executor, queued):
                logger.info(news)
    except InputError as error:
        raise WorkflowError(str(error)) from None
