-- The records of a workspace. Columns that other tools rely on are never renamed; more may be added in a later migration.

create table runs (
    run varchar primary key,
    verb varchar not null,
    config json not null,        -- every field, defaults included
    recipe varchar not null,     -- digest of verb, config and inputs: an equal finished run need not be repeated
    seed bigint,
    version varchar not null,    -- of lacewing
    packages json not null,      -- of what the numbers depend on
    status varchar not null check (status in ('running', 'done', 'failed', 'stopped')),
    started timestamp not null,
    finished timestamp,
    error varchar,
    pid integer not null,
    host varchar not null,
    summary json                 -- wall seconds, peak memory, what was made
);

create table dictionaries (
    dictionary varchar primary key,  -- digest of config and weights; the folder dictionaries/DIGEST
    name varchar not null,
    model varchar not null,
    site varchar not null,
    layer integer not null,
    architecture varchar not null,
    latents integer not null,
    run varchar not null,
    metrics json not null            -- l0, explained_variance, ce_recovered, dead; *_lower, *_upper; pca_* beside them
);

create table harvests (
    harvest varchar not null,    -- digest of model, dictionaries and text; tokens/HARVEST, activations/DICTIONARY/part-HARVEST-*.parquet
    dictionary varchar not null,
    model varchar not null,
    documents integer not null,
    tokens bigint not null,
    run varchar not null,
    primary key (harvest, dictionary)
);

create table features (
    dictionary varchar not null,
    latent integer not null,
    density double not null,         -- share of tokens at which it is active
    max_activation double not null,
    statistics json not null         -- firings, documents, quantiles, histogram, lift, top_logits, bottom_logits, harvest
);

create table tasks (
    task varchar not null,
    model varchar not null,
    pairs integer not null,          -- pairs generated
    accuracy double not null,        -- share of pairs the model gets right both ways
    metric varchar not null,
    prompts json,                    -- the pairs kept: text, counter_text, answers, split
    run varchar,
    primary key (task, model)
);

create table circuits (
    circuit varchar primary key,
    run varchar not null,
    task varchar not null,
    method varchar not null,
    metric varchar not null,
    ablation varchar not null,
    model varchar not null,
    dictionaries json not null,      -- {site: dictionary}
    pairs integer not null,          -- discovery pairs
    prompt json not null,            -- tokens and roles of one example, for axes
    selfcheck json not null,         -- logits and gradients of the spliced model against the bare one
    calibration json not null,       -- estimate against exact effect: pearson, sign errors, by site
    summary json not null            -- totals, completeness gap, sizes
);

create table nodes (
    circuit varchar not null,
    node varchar not null,           -- data.words.Node as text
    site varchar,                    -- NULL for the metric's own node
    layer integer not null,
    kind varchar not null,
    dictionary varchar,
    latent integer,
    position integer not null,
    role varchar not null,
    effect double not null,          -- part of the metric lost when the node takes its counterfactual value
    lower double not null,
    upper double not null,
    verified double,                 -- the exact effect, NULL while only estimated
    verified_lower double,
    verified_upper double,
    rank integer not null            -- 1 is the most important
);

create table edges (
    circuit varchar not null,
    source varchar not null,
    target varchar not null,
    effect double not null,
    lower double not null,
    upper double not null,
    verified double
);

create table evaluations (
    circuit varchar not null,
    kind varchar not null,           -- faithfulness, completeness
    mask varchar not null,           -- nodes, edges
    ablation varchar not null,
    size integer not null,
    value double not null,
    lower double not null,
    upper double not null,
    control double not null,         -- the same for random circuits of that size per site
    control_lower double,
    control_upper double
);

create table explanations (
    explanation varchar primary key,
    dictionary varchar not null,
    latent integer not null,
    explainer varchar not null,
    text varchar,
    error varchar,
    run varchar not null,
    details json,                    -- candidates, examples shown (document, position), request digests
    check ((text is null) <> (error is null))
);

create table scores (
    explanation varchar not null,
    scorer varchar not null,
    value double,
    lower double,
    upper double,
    control double,                  -- another feature's explanation on the same windows
    control_lower double,
    control_upper double,
    difference double,               -- value - control, paired bootstrap over documents
    difference_lower double,
    difference_upper double,
    trials integer not null,
    error varchar,
    run varchar not null,
    details json                     -- windows judged: document, position, truth, judgement
);

create table labels (
    dictionary varchar not null,
    latent integer not null,
    text varchar not null,
    author varchar not null,
    written timestamp not null
);

create table bench (
    task varchar not null,
    site varchar not null,
    method varchar not null,
    metric varchar not null,
    value double not null,
    lower double,
    upper double,
    control double,
    trials integer not null,
    run varchar
);
