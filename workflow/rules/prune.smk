# Dense networks are pruned as their training ends, for level 1, by the scorers that were there when
# their kind of inference came. Their kept weights are pruned here for all others: by scorers of later,
# an extension's for instance, and for the deeper levels of searches that score the dense network.
PRUNED_FROM_DENSE = [node for node in NODES.values() if node.previous and node.previous.level == 0]
LATER_SCORERS = {
    node.scorer
    for node in PRUNED_FROM_DENSE
    if node.level == 1 and node.scorer not in study.scorers(config, node.dense)
}
DEEP_SCORERS = {node.scorer for node in PRUNED_FROM_DENSE if node.level > 1}


# The rule's name, its scorers, and what its masks' names say of the level.
for name, scorers, depth in [
    ("prune", LATER_SCORERS, ""),
    ("prune_deep", DEEP_SCORERS, "_level{level}"),
]:
    if not scorers:
        continue

    rule:
        name:
            name
        input:
            data=lambda wildcards: study.data_file(config, node_of(wildcards).dataset),
            weights="<results>/{node}/weights.safetensors",
            extensions=lambda wildcards: study.node_extensions(config, pruned(wildcards)),
        output:
            f"<results>/{{node}}/next_mask_{{scorer}}{depth}.safetensors",
        log:
            f"<logs>/{{node}}/prune_{{scorer}}{depth}.log",
        benchmark:
            f"<benchmarks>/{{node}}/prune_{{scorer}}{depth}.tsv"
        wildcard_constraints:
            node=r"runs/.+/dense",
            scorer="|".join(sorted(scorers)),
            level=r"\d+",
        conda:
            "../envs/lottery.yaml"
        threads: 1
        resources:
            device=config["device"],
            gpu=lambda wildcards: request([node_of(wildcards)]).gpu,
            mem_mb=lambda wildcards, attempt: (
                request([node_of(wildcards)]).attempt(attempt).memory_mb
            ),
            runtime=10,
        params:
            task=pruning_task,
        message:
            "Prune {wildcards.node} by {wildcards.scorer}"
        shell:
            "python scripts/prune.py --task {params.task:q} --data {input.data:q}"
            " --weights {input.weights:q} --extensions {input.extensions:q}"
            " --scorer {wildcards.scorer} --device {resources.device} --output {output:q}"
            " > {log:q} 2>&1"
