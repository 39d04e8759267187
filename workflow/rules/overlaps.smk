# Tables of masks, for figures 12 and 13: how far masks moved from epoch to epoch as dense networks
# were watched, and what masks have in common.
def tabulated(name):
    """The files that a table of masks is made of."""
    nodes = NODES.values()
    if name == "distances":
        return [*study.distance_files(config, nodes)]
    used = {node for pair in study.pairs(config, nodes) for node in pair[:2]}
    return sorted(study.mask_file(config, node) for node in used)


for name in MASK_TABLES:

    rule:
        name:
            name
        input:
            files=lambda wildcards, name=name: tabulated(name),
            code=code("findings/columns.py", "findings/overlaps.py"),
        output:
            parquet=f"<results>/tables/{name}.parquet",
            csv=f"<results>/tables/{name}.csv",
        log:
            f"<logs>/{name}.log",
        benchmark:
            f"<benchmarks>/{name}.tsv"
        localrule: True
        conda:
            "../envs/lottery.yaml"
        params:
            study=STUDY,
            name=name,
        message:
            "Make the table of {params.name}"
        shell:
            program("overlaps") + " --study {params.study:q} --table {params.name}"
            " --parquet {output.parquet:q} --csv {output.csv:q} > {log:q} 2>&1"
