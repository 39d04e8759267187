# Instead of trunk.smk where a job trains several networks (networks_per_job): a rule for each such
# job, since its outputs are those of several nodes.
for number, pack in enumerate(study.packs(NODES.values(), config["networks_per_job"]), 1):
    asked = pack_request(pack)

    rule:
        name:
            f"train_pack_{number}"
        input:
            starts=pack_inputs(pack),
        output:
            metrics=pack_outputs(pack, "metrics"),
            history=pack_outputs(pack, "history"),
            weights=[
                (str if study.starts_others(node) else unneeded)(path)
                for node, path in zip(pack, pack_outputs(pack, "weights"))
            ],
            next_masks=pack_outputs(pack, "next_masks"),
            masks=pack_outputs(pack, "branch_mask"),
        log:
            f"<logs>/{pack[0].folder}.log",
        benchmark:
            f"<benchmarks>/{pack[0].folder}.tsv"
        conda:
            "../envs/lottery.yaml"
        threads: 1
        resources:  # how a job runs, not what it computes: changing them reruns nothing
            device=config["device"],
            checkpoint_seconds=config["checkpoint_seconds"],
            gpu=asked.gpu,
            mem_mb=lambda wildcards, attempt, asked=asked: asked.attempt(attempt).memory_mb,
            runtime=lambda wildcards, attempt, asked=asked: asked.attempt(attempt).minutes,
        params:
            tasks=tasks(pack),
        message:
            f"Train {pack[0].folder} and {len(pack) - 1} beside it"
        shell:
            "python scripts/train_pack.py --tasks {params.tasks:q} --device {resources.device}"
            " --checkpoint-seconds {resources.checkpoint_seconds} > {log} 2>&1"
