rule claims:
    input:
        runs="<results>/tables/runs.parquet",
        layers="<results>/tables/layers.parquet",
        exports="<results>/tables/exports.parquet" if EXPORTED else [],
        code=code(
            "findings/arms.py",
            "findings/columns.py",
            "findings/results.py",
            "findings/savings.py",
            "findings/claims/*.py",
        ),
    output:
        csv="<results>/tables/claims.csv",
        html=report(
            "<results>/tables/claims.html", caption="../report/claims.rst", category="Tables"
        ),
    log:
        "<logs>/claims.log",
    benchmark:
        "<benchmarks>/claims.tsv"
    localrule: True
    conda:
        "../envs/lottery.yaml"
    params:
        # A function, since names of one's own may have braces, which Snakemake would fill in.
        options=lambda wildcards: json.dumps({**config["claims"], **study.told(config)}),
    message:
        "Judge the paper's claims"
    shell:
        program("claims")
        + " --runs {input.runs:q} --layers {input.layers:q}"
        + (" --exports {input.exports:q}" if EXPORTED else "")
        + " --options {params.options:q} --csv {output.csv:q} --html {output.html:q} > {log:q} 2>&1"
