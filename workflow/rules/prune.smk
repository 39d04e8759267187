# Dense networks are pruned as their training ends, for level 1, by the scorers that were there when
# their kind of inference came. Their kept weights are pruned here for all else: by scorers of later,
# an extension's for instance, by other rankings and patterns, and for the deeper levels of searches
# that score the dense network. A rule a kind, for what training writes differs by kind.
MASKS_APART = study.masks_apart(config, NODES.values())


def start_from(wildcards):
    """A node that starts from the mask."""
    folder = f"{config['results']}/{wildcards.node}"
    return MASKS_APART[f"{folder}/next_mask_{wildcards.pruned}.safetensors"]


for kind in KINDS:
    masks = {
        Path(path).stem.removeprefix("next_mask_")
        for path, node in MASKS_APART.items()
        if study.kind_name(config, node.inference) == kind
    }
    if not masks:
        continue

    rule:
        name:
            f"prune_{kind}"
        input:
            data=lambda wildcards: study.data_file(config, start_from(wildcards).dataset),
            weights="<results>/{node}/weights.safetensors",
            extensions=lambda wildcards: extension_files(start_from(wildcards)),
        output:
            "<results>/{node}/next_mask_{pruned}.safetensors",
        log:
            "<logs>/{node}/prune_{pruned}.log",
        benchmark:
            "<benchmarks>/{node}/prune_{pruned}.tsv"
        wildcard_constraints:
            node=rf"runs/[^/]+/[^/]+/({names_of_kind(kind)})/.+/dense",
            pruned="|".join(sorted(masks)),
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
            task=lambda wildcards: json.dumps(study.pruning_task(config, start_from(wildcards))),
            scorer=lambda wildcards: start_from(wildcards).scorer,
        message:
            "Prune {wildcards.node} by {wildcards.pruned}"
        shell:
            program("prune") + " --task {params.task:q} --data {input.data:q}"
            " --weights {input.weights:q} --extensions {input.extensions:q}"
            " --scorer {params.scorer} --device {resources.device} --output {output:q}"
            " > {log:q} 2>&1"
