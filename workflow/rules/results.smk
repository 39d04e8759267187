rule aggregate:
    input:
        metrics=METRICS_FILES,
        code="src/bayesian_lottery/results.py",
    output:
        runs_parquet="<results>/tables/runs.parquet",
        runs_csv=report(
            "<results>/tables/runs.csv", caption="../report/runs.rst", category="Tables"
        ),
        layers_parquet="<results>/tables/layers.parquet",
        layers_csv="<results>/tables/layers.csv",
    log:
        "<logs>/aggregate.log",
    benchmark:
        "<benchmarks>/aggregate.tsv"
    conda:
        "../envs/lottery.yaml"
    params:
        study=json.dumps(
            {
                "results": config["results"],
                "datasets": list(config["datasets"]),
                "curricula": list(config["curricula"]),
                "trunks": config["trunks"],
                "branches": config["branches"],
            }
        ),
    message:
        "Gather the metrics of all runs into tables"
    shell:
        "(python scripts/list_metrics.py --study {params.study:q}"
        " | python scripts/aggregate.py --metrics-list /dev/stdin"
        " --runs-parquet {output.runs_parquet} --runs-csv {output.runs_csv}"
        " --layers-parquet {output.layers_parquet} --layers-csv {output.layers_csv}) > {log} 2>&1"


rule figure:
    input:
        runs="<results>/tables/runs.parquet",
        layers="<results>/tables/layers.parquet",
        style="config/figures.mplstyle",
        code=sorted(Path().glob("src/bayesian_lottery/figures/*.py")),
    output:
        png=report(
            "<results>/figures/{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels=lambda wildcards: {"figure": FIGURES[wildcards.figure].title},
        ),
        pdf="<results>/figures/{figure}.pdf",
    log:
        "<logs>/figures/{figure}.log",
    benchmark:
        "<benchmarks>/figures/{figure}.tsv"
    conda:
        "../envs/lottery.yaml"
    params:
        title=lambda wildcards: FIGURES[wildcards.figure].title,
        options=lambda wildcards: json.dumps(config["figures"][wildcards.figure]),
    message:
        "Draw {wildcards.figure}: {params.title}"
    shell:
        "python scripts/plot.py --figure {wildcards.figure} --runs {input.runs}"
        " --layers {input.layers} --options {params.options:q} --style {input.style}"
        " --png {output.png} --pdf {output.pdf} > {log} 2>&1"
