# Dense networks are pruned as their training ends, by the scorers that were there when their kind of
# inference came. A scorer of later, an extension's for instance, prunes their kept weights here.
LATER_SCORERS = sorted(
    {
        node.scorer
        for node in NODES.values()
        if node.level == 1 and node.scorer not in study.scorers(config, node.dense)
    }
)


if LATER_SCORERS:

    rule prune:
        input:
            data=lambda wildcards: study.data_file(config, node_of(wildcards).dataset),
            weights="<results>/{node}/weights.safetensors",
            extensions=lambda wildcards: study.node_extensions(config, pruned(wildcards)),
        output:
            "<results>/{node}/next_mask_{scorer}.safetensors",
        log:
            "<logs>/{node}/prune_{scorer}.log",
        benchmark:
            "<benchmarks>/{node}/prune_{scorer}.tsv"
        wildcard_constraints:
            node=r"runs/.+/dense",
            scorer="|".join(LATER_SCORERS),
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
            task=lambda wildcards: json.dumps(study.task(config, node_of(wildcards))),
        message:
            "Prune {wildcards.node} by {wildcards.scorer}"
        shell:
            "python scripts/prune.py --task {params.task:q} --data {input.data:q}"
            " --weights {input.weights:q} --extensions {input.extensions:q}"
            " --scorer {wildcards.scorer} --device {resources.device} --output {output:q}"
            " > {log:q} 2>&1"
