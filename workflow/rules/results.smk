from functools import partial


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


def figure_plan(name):
    """What the study lets a figure show."""
    try:
        return figures.plan(name, COORDINATES, config["figures"][name])
    except InputError as error:
        raise WorkflowError(f"{name}: {error}") from None


def shown(name, wildcards):
    return figure_plan(name).shown


def mask_files(name, wildcards):
    """The masks and initial weights that a figure shows, by the names in its plan."""
    masks = getattr(figure_plan(name), "masks", {})
    files = {}
    for key, where in masks.items():
        node = study.Node(**where)
        starts = study.node_inputs(config, node)
        own = f"{config['results']}/{node.folder}/mask.safetensors"
        files |= {"initial": starts["initial"], key: own if node.branch else starts["mask"]}
    return files


def file_options(wildcards, input):
    """The options of plot.py for the files that a figure shows."""
    tables = ("table", "style", "code")
    return [f"--file {name}={path}" for name, path in input.items() if name not in tables]


# One rule a figure, for captions and labels know no wildcards. The first format goes into the report.
for name, figure in FIGURES.items():

    rule:
        name:
            f"plot_{name}"
        input:
            unpack(partial(mask_files, name)),
            table=f"<results>/tables/{figure.table}.parquet",
            style="config/figures.mplstyle",
            code=[
                "src/bayesian_lottery/results.py",
                *sorted(Path().glob("src/bayesian_lottery/figures/*.py")),
            ],
        output:
            report(
                f"<results>/figures/{name}.{figure.formats[0]}",
                caption=f"../report/{name}.rst",
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
            files=file_options,
            options=json.dumps(config["figures"][name]),
            shown=partial(shown, name),
        message:
            "Draw {params.name}, of {params.shown}"
        shell:
            "python scripts/plot.py --figure {params.name} --{params.table} {input.table}"
            " {params.files} --options {params.options:q} --style {input.style} --out {output}"
            " > {log} 2>&1"
