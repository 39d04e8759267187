# A job of its own watches a dense network train, for searches that draw masks early: one for each
# dense network, search, scorer, ranking and pattern.
def level_of(folder, wildcards):
    """A level that starts from what was seen of the dense node."""
    levels = (node for node in NODES.values() if node.level and node.dense == node_of(wildcards))
    return next(node for node in levels if study.watched(node) == folder)


WATCHED = {folder: last for (_, folder), last in study.watches(config, NODES.values()).items()}

for folder, last in WATCHED.items():

    rule:
        name:
            folder.replace("watched", "watch", 1)
        input:
            data=lambda wildcards: study.data_file(config, node_of(wildcards).dataset),
            initial=lambda wildcards: study.node_inputs(config, node_of(wildcards))["initial"],
            extensions=lambda wildcards, folder=folder: extension_files(level_of(folder, wildcards)),
        output:
            masks=[
                f"<results>/{{node}}/{folder}/level{level:02}.safetensors"
                for level in range(1, last + 1)
            ],
            table=f"<results>/{{node}}/{folder}/distances.csv",
        log:
            f"<logs>/{{node}}/{folder}.log",
        benchmark:
            f"<benchmarks>/{{node}}/{folder}.tsv"
        wildcard_constraints:
            node=r"runs/.+/dense",
        conda:
            "../envs/lottery.yaml"
        threads: 1
        resources:
            device=config["device"],
            checkpoint_seconds=config["checkpoint_seconds"],
            gpu=lambda wildcards: request([node_of(wildcards)]).gpu,
            mem_mb=lambda wildcards, attempt: (
                request([node_of(wildcards)]).attempt(attempt).memory_mb
            ),
            runtime=lambda wildcards, attempt: (
                request([node_of(wildcards)]).attempt(attempt).minutes
            ),
        params:
            task=lambda wildcards, folder=folder: json.dumps(
                study.watching_task(config, level_of(folder, wildcards))
            ),
        message:
            f"Watch {{wildcards.node}} for {folder.removeprefix('watched_')}"
        shell:
            program("watch") + " --task {params.task:q} --data {input.data:q}"
            " --initial {input.initial:q} --extensions {input.extensions:q}"
            " --device {resources.device} --checkpoint-seconds {resources.checkpoint_seconds}"
            " --masks {output.masks:q} --table {output.table:q} > {log:q} 2>&1"
