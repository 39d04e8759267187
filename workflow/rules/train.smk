# One rule trains nodes, and prunes them for the next level: a node a job, whose rules differ in what
# they write, or several side by side (networks_per_job), each such job a rule of its own.
for shape in SHAPES:

    rule:
        name:
            shape.name
        input:
            unpack(shape.inputs),
        output:
            **shape.outputs,
        log:
            f"<logs>/{shape.folder}.log",
        benchmark:
            f"<benchmarks>/{shape.folder}.tsv"
        wildcard_constraints:
            **shape.constraints,
        conda:
            "../envs/lottery.yaml"
        threads: 1
        resources:  # how a job runs, not what it computes: changing them reruns nothing
            device=config["device"],
            checkpoint_seconds=config["checkpoint_seconds"],
            gpu=lambda wildcards, shape=shape: request(shape.nodes(wildcards)).gpu,
            mem_mb=lambda wildcards, attempt, shape=shape: (
                request(shape.nodes(wildcards)).attempt(attempt).memory_mb
            ),
            runtime=lambda wildcards, attempt, shape=shape: (
                request(shape.nodes(wildcards)).attempt(attempt).minutes
            ),
        params:
            tasks=lambda wildcards, shape=shape: shape.told(wildcards),
            # Whoever asks for the input as well makes paths that rerun nothing.
            files=lambda wildcards, input, shape=shape: shape.paths(wildcards),
        message:
            f"Train {shape.words}"
        shell:
            program("train") + " --tasks {params.tasks:q} --files {params.files:q}"
            " --device {resources.device} --checkpoint-seconds {resources.checkpoint_seconds}"
            " > {log:q} 2>&1"
