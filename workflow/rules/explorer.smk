rule explorer:
    input:
        runs="<results>/tables/runs.parquet",
        claims="<results>/tables/claims.csv",
        shifts="<results>/tables/shifts.parquet",
        code=code("findings/columns.py", "findings/results.py", "findings/explorer/*.*"),
    output:
        report("<results>/explorer.html", caption="../report/explorer.rst", category="Explorer"),
    log:
        "<logs>/explorer.log",
    benchmark:
        "<benchmarks>/explorer.tsv"
    localrule: True
    conda:
        "../envs/lottery.yaml"
    params:
        results=lambda wildcards, output: os.path.dirname(output[0]),
        # As users type them after --configfile.
        configfiles=[os.path.relpath(path) for path in workflow.overwrite_configfiles],
    message:
        "Make the explorer of curves, runs and claims"
    shell:
        program("explorer")
        + " --runs {input.runs:q} --claims {input.claims:q} --shifts {input.shifts:q}"
        " --results {params.results:q} --configfiles {params.configfiles:q} --out {output:q} > {log:q} 2>&1"
