# One rule trains every node, and prunes it for the next level. Its kin differ in what they write: a
# dense network is pruned by every scorer, and its weights and those of learning-rate rewinding are
# kept, because the next level may start from them.
rule train_level:
    input:
        unpack(node_inputs),
    output:
        metrics="<results>/{node}/metrics.json",
        history="<results>/{node}/history.csv",
        weights=unneeded("<results>/{node}/weights.safetensors"),
        next_masks=["<results>/{node}/next_mask.safetensors"],
    log:
        "<logs>/{node}.log",
    benchmark:
        "<benchmarks>/{node}.tsv"
    wildcard_constraints:
        node=r"runs/.+_imp/level\d+",
    conda:
        "../envs/lottery.yaml"
    threads: 1
    resources:  # how a job runs, not what it computes: changing them reruns nothing
        device=config["device"],
        checkpoint_seconds=config["checkpoint_seconds"],
        gpu=lambda wildcards: request(wildcards).gpu,
        mem_mb=lambda wildcards, attempt: request(wildcards).attempt(attempt).memory_mb,
        runtime=lambda wildcards, attempt: request(wildcards).attempt(attempt).minutes,
    params:
        node=node_coordinates,
        settings=node_settings,
        start=start,
        masks=next_masks,
    message:
        "Train {wildcards.node}"
    shell:
        "python scripts/train.py --node {params.node:q} --settings {params.settings:q}"
        " --data {input.data} --initial {input.initial} {params.start}"
        " --metrics {output.metrics} --history {output.history} --weights {output.weights}"
        " {params.masks} --device {resources.device}"
        " --checkpoint-seconds {resources.checkpoint_seconds} > {log} 2>&1"


use rule train_level as train_level_lrr with:
    output:
        metrics="<results>/{node}/metrics.json",
        history="<results>/{node}/history.csv",
        weights="<results>/{node}/weights.safetensors",
        next_masks=["<results>/{node}/next_mask.safetensors"],
    wildcard_constraints:
        node=r"runs/.+_lrr/level\d+",


use rule train_level as train_dense_deterministic with:
    output:
        metrics="<results>/{node}/metrics.json",
        history="<results>/{node}/history.csv",
        weights="<results>/{node}/weights.safetensors",
        next_masks=expand(
            "<results>/{{node}}/next_mask_{scorer}.safetensors",
            scorer=scorers_for("deterministic"),
        ),
    wildcard_constraints:
        node=r"runs/[^/]+/[^/]+/deterministic/.+/dense",


use rule train_level as train_dense_bayesian with:
    output:
        metrics="<results>/{node}/metrics.json",
        history="<results>/{node}/history.csv",
        weights="<results>/{node}/weights.safetensors",
        next_masks=expand(
            "<results>/{{node}}/next_mask_{scorer}.safetensors",
            scorer=scorers_for("bayesian"),
        ),
    wildcard_constraints:
        node=r"runs/[^/]+/[^/]+/bayesian/.+/dense",


use rule train_level as train_branch with:
    output:
        metrics="<results>/{node}/metrics.json",
        history="<results>/{node}/history.csv",
        weights=unneeded("<results>/{node}/weights.safetensors"),
        mask="<results>/{node}/mask.safetensors",
    wildcard_constraints:
        node=rf"runs/.+/({'|'.join(BRANCHES)})_\d+",
    params:
        node=node_coordinates,
        settings=node_settings,
        start=start,
        masks=lambda wildcards, output: f"--branch-mask {output.mask}",
