# Levels exported in several formats, each measured beside the dense network, and the table of that;
# for the nodes that the configuration's section `exports` names. Their trained weights are needed.
rule export:
    input:
        data=lambda wildcards: study.data_file(config, node_of(wildcards).dataset),
        metrics="<results>/{node}/metrics.json",
        weights="<results>/{node}/weights.safetensors",
        extensions=lambda wildcards: extension_files(node_of(wildcards)),
    output:
        measured="<results>/{node}/exports.json",
        files=directory("<results>/{node}/exports"),
    log:
        "<logs>/{node}/exports.log",
    benchmark:
        "<benchmarks>/{node}/exports.tsv"
    wildcard_constraints:
        node=r"runs/.+/(dense|level\d+)",
    conda:
        "../envs/lottery.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: request([node_of(wildcards)]).gpu,
        mem_mb=lambda wildcards, attempt: (request([node_of(wildcards)]).attempt(attempt).memory_mb),
        runtime=60,
    params:
        folder=lambda wildcards, input: os.path.dirname(input.metrics),
        settings=lambda wildcards: json.dumps(EXPORTED[node_of(wildcards)]),
    message:
        "Export {wildcards.node}"
    shell:
        program("measure_exports") + " --folder {params.folder:q} --data {input.data:q}"
        " --extensions {input.extensions:q} --settings {params.settings:q}"
        " --files {output.files:q} --output {output.measured:q} > {log:q} 2>&1"


rule exports:
    input:
        measured=[f"{config['results']}/{node.folder}/exports.json" for node in EXPORTED],
        code=code("findings/columns.py", "findings/exported.py"),
    output:
        parquet="<results>/tables/exports.parquet",
        csv=report(
            "<results>/tables/exports.csv", caption="../report/exports.rst", category="Tables"
        ),
    log:
        "<logs>/exports.log",
    benchmark:
        "<benchmarks>/exports.tsv"
    localrule: True
    conda:
        "../envs/lottery.yaml"
    message:
        "Gather what was measured of exported networks into a table"
    shell:
        program("gather_exports") + " --measured {input.measured:q} --parquet {output.parquet:q}"
        " --csv {output.csv:q} > {log:q} 2>&1"
