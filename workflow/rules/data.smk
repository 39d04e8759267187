from bayesian_lottery.models import MODELS


rule prepare_data:
    output:
        "<results>/data/{dataset}.safetensors",
    log:
        "<logs>/data/{dataset}.log",
    benchmark:
        "<benchmarks>/data/{dataset}.tsv"
    localrule: True
    conda:
        "../envs/lottery.yaml"
    threads: decoding_threads
    params:
        settings=prepare_settings,
    message:
        "Decode {wildcards.dataset}"
    shell:
        program("prepare_data") + " --name {wildcards.dataset} --settings {params.settings:q}"
        " --out {output:q} > {log:q} 2>&1"


rule initialise:
    input:
        data="<results>/data/{dataset}.safetensors",
    output:
        "<results>/initial/{dataset}/{model}/seed{seed}.safetensors",
    log:
        "<logs>/initial/{dataset}/{model}/seed{seed}.log",
    benchmark:
        "<benchmarks>/initial/{dataset}/{model}/seed{seed}.tsv"
    wildcard_constraints:
        model="|".join(MODELS),
    localrule: True
    conda:
        "../envs/lottery.yaml"
    message:
        "Draw the initial weights of {wildcards.model} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        program("initialise") + " --data {input.data:q} --model {wildcards.model}"
        " --seed {wildcards.seed} --out {output:q} > {log:q} 2>&1"


# Of the configuration's own models, whose initial weights depend on their definition and their file.
# The package's have a rule of before, which must stay as it is: else all would be trained again.
if config["models"]:

    rule initialise_own:
        input:
            data="<results>/data/{dataset}.safetensors",
            code=lambda wildcards: [local(p) for p in study.model_files(config, wildcards.model)],
        output:
            "<results>/initial/{dataset}/{model}/seed{seed}.safetensors",
        log:
            "<logs>/initial/{dataset}/{model}/seed{seed}.log",
        benchmark:
            "<benchmarks>/initial/{dataset}/{model}/seed{seed}.tsv"
        wildcard_constraints:
            model="|".join(config["models"]),
        localrule: True
        conda:
            "../envs/lottery.yaml"
        params:
            definition=lambda wildcards: json.dumps(config["models"][wildcards.model]),
        message:
            "Draw the initial weights of {wildcards.model} on {wildcards.dataset}, seed {wildcards.seed}"
        shell:
            program("initialise") + " --data {input.data:q} --model {wildcards.model}"
            " --definition {params.definition:q} --seed {wildcards.seed} --out {output:q} > {log:q} 2>&1"


rule count:
    input:
        data="<results>/data/{dataset}.safetensors",
        code=lambda wildcards: [local(path) for path in study.model_files(config, wildcards.model)],
    output:
        "<results>/initial/{dataset}/{model}/counts.json",
    log:
        "<logs>/initial/{dataset}/{model}/counts.log",
    benchmark:
        "<benchmarks>/initial/{dataset}/{model}/counts.tsv"
    localrule: True
    conda:
        "../envs/lottery.yaml"
    params:
        definition=lambda wildcards: json.dumps(config["models"].get(wildcards.model)),
    message:
        "Count the operations of {wildcards.model} on {wildcards.dataset}"
    shell:
        program("count") + " --data {input.data:q} --dataset {wildcards.dataset}"
        " --model {wildcards.model} --definition {params.definition:q} --out {output:q} > {log:q} 2>&1"
