# Pools train nothing: they average the predictions that their members have kept.
if any(study.members(config, node) for node in NODES.values()):

    rule pool:
        input:
            data=lambda wildcards: study.node_inputs(config, node_of(wildcards))["data"],
            predictions=kept_by_members("predictions"),
            metrics=kept_by_members("metrics"),
            draws=kept_by_members("draws"),
        output:
            metrics="<results>/{node}/metrics.json",
            history="<results>/{node}/history.csv",
            predictions="<results>/{node}/predictions.safetensors",
        log:
            "<logs>/{node}.log",
        benchmark:
            "<benchmarks>/{node}.tsv"
        wildcard_constraints:
            node=branches_of(trains=False),
        localrule: True
        conda:
            "../envs/lottery.yaml"
        params:
            folder=lambda wildcards, output: os.path.dirname(output.metrics),
            task=lambda wildcards: json.dumps(study.task(config, node_of(wildcards))),
        message:
            "Pool {wildcards.node}"
        shell:
            program("pool") + " --task {params.task:q} --data {input.data:q}"
            " --predictions {input.predictions:q} --metrics {input.metrics:q}"
            " --draws {input.draws:q} --folder {params.folder:q} > {log:q} 2>&1"
