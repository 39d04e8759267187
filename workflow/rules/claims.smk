rule claims:
    input:
        runs="<results>/tables/runs.parquet",
        layers="<results>/tables/layers.parquet",
        code=sorted(Path().glob("src/bayesian_lottery/claims/*.py")),
    output:
        csv="<results>/tables/claims.csv",
        html=report(
            "<results>/tables/claims.html", caption="../report/claims.rst", category="Tables"
        ),
    log:
        "<logs>/claims.log",
    benchmark:
        "<benchmarks>/claims.tsv"
    conda:
        "../envs/lottery.yaml"
    params:
        options=json.dumps(config["claims"]),
    message:
        "Judge the paper's claims"
    shell:
        "python scripts/claims.py --runs {input.runs} --layers {input.layers}"
        " --options {params.options:q} --csv {output.csv} --html {output.html} > {log} 2>&1"
