from functools import partial

# What scripts need of the configuration to know all nodes.
STUDY = json.dumps(
    {
        "results": RESULTS,
        "datasets": sorted({node.dataset for node in NODES.values()}),
        "curricula": sorted({node.curriculum for node in NODES.values()}),
        "trunks": [study.spelled(entry) for entry in config["trunks"]],
        "branches": config["branches"],
        **{
            key: config[key]
            for key in (
                "inferences",
                "models",
                "searches",
                "rankings",
                "rewinds",
                "objectives",
                "branch_kinds",
                "extensions",
            )
            if config[key]
        },
    }
)


# What training takes of operations, counted for each data set and model that are trained.
COUNTS = sorted(
    {
        f"<results>/initial/{study.trained(config, node).dataset}/{node.model}/counts.json"
        for node in NODES.values()
    }
)


rule aggregate:
    input:
        metrics=METRICS_FILES,
        counts=COUNTS,
        extensions=[local(path) for path in config["extensions"]],
        code=code(
            "findings/columns.py",
            "findings/operations.py",
            "findings/results.py",
            "findings/rows.py",
        ),
    output:
        runs_parquet="<results>/tables/runs.parquet",
        runs_csv=report(
            "<results>/tables/runs.csv", caption="../report/runs.rst", category="Tables"
        ),
        layers_parquet="<results>/tables/layers.parquet",
        layers_csv="<results>/tables/layers.csv",
        shifts_parquet="<results>/tables/shifts.parquet",
        shifts_csv="<results>/tables/shifts.csv",
    log:
        "<logs>/aggregate.log",
    benchmark:
        "<benchmarks>/aggregate.tsv"
    localrule: True
    conda:
        "../envs/lottery.yaml"
    params:
        study=STUDY,
    message:
        "Gather the metrics of all runs into tables"
    shell:
        f"({program('list_metrics')}"
        + " --study {params.study:q} | "
        + program("aggregate")
        + " --metrics-list /dev/stdin --counts {input.counts:q}"
        " --extensions {input.extensions:q}"
        " --runs-parquet {output.runs_parquet:q} --runs-csv {output.runs_csv:q}"
        " --layers-parquet {output.layers_parquet:q} --layers-csv {output.layers_csv:q}"
        " --shifts-parquet {output.shifts_parquet:q} --shifts-csv {output.shifts_csv:q}) > {log:q} 2>&1"


if COMPARED:

    rule agreement:
        input:
            runs="<results>/tables/runs.parquet",
            predictions=COMPARED,
            code=code("findings/agreement.py", "findings/arms.py"),
        output:
            parquet="<results>/tables/agreement.parquet",
            csv="<results>/tables/agreement.csv",
        log:
            "<logs>/agreement.log",
        benchmark:
            "<benchmarks>/agreement.tsv"
        localrule: True
        conda:
            "../envs/lottery.yaml"
        params:
            results=RESULTS,
            options=lambda wildcards: json.dumps(study.told(config)),
        message:
            "Compare predictions with those of the sampler on the same mask"
        shell:
            program("agree") + " --runs {input.runs:q} --results {params.results:q}"
            " --options {params.options:q} --parquet {output.parquet:q} --csv {output.csv:q}"
            " > {log:q} 2>&1"


# One rule a figure, for captions and labels know no wildcards. The first format goes into the report.
for name, figure in FIGURES.items():
    if LEFT_OUT.get(name):
        continue

    rule:
        name:
            f"plot_{name}"
        input:
            unpack(partial(files_beside, name)),
            table=f"<results>/tables/{figure.table}.parquet",
            nodes=f"<results>/tables/{figure.nodes}.parquet" if figure.nodes else [],
            style=file("config/figures.mplstyle"),
            extensions=[local(path) for path in config["extensions"]],
            code=code(
                "findings/arms.py",
                "findings/columns.py",
                "findings/results.py",
                "findings/savings.py",
                "findings/figures/**/*.py",
            ),
        output:
            report(
                f"<results>/figures/{name}.{figure.formats[0]}",
                caption=caption(name),
                category="Figures and tables of the paper",
                labels={"figure": name, "what": figure.title},
            ),
            [f"<results>/figures/{name}.{other}" for other in figure.formats[1:]],
        log:
            f"<logs>/figures/{name}.log",
        benchmark:
            f"<benchmarks>/figures/{name}.tsv"
        localrule: True
        conda:
            "../envs/lottery.yaml"
        params:
            name=name,
            table=figure.table,
            nodes=f"--{figure.nodes}" if figure.nodes else "",
            files=file_options,
            options=partial(figure_options, name),
            shown=partial(shown, name),
            measured=partial(measured, name),
        message:
            "Draw {params.name}, of {params.shown}"
        shell:
            program("plot") + " --figure {params.name} --{params.table} {input.table:q}"
            " {params.nodes} {input.nodes:q}"
            " --extensions {input.extensions:q}"
            " {params.files} --options {params.options:q} --style {input.style:q} --out {output:q}"
            " > {log:q} 2>&1"
