-- What scorers and explainers make of planted features, whose rules are known (`lacewing bench-autointerp`).

create table ground (
    run varchar not null,
    method varchar not null,         -- a scorer with its settings; `executed`: the label itself, run on the windows
    kind varchar not null,           -- of rule
    latent integer not null,         -- of the planted harvest
    rung varchar not null,           -- exact, broad, narrow, sibling, generic, shuffled, empty, injection, list
    text varchar not null,
    precision double not null,       -- of the label when it is run over all tokens: its truth
    recall double not null,
    f1 double not null,
    extent double not null,          -- windows in which it fires over windows in which the feature does
    value double,                    -- the score: an AUROC, or the scorer's own statistic; NULL where it failed
    natural_auprc double,            -- average precision at the feature's natural rate, of rankings of windows
    yes double,                      -- mean verdict, of judges of yes and no
    trials integer not null,
    error varchar
);

create table ground_explained (
    run varchar not null,
    method varchar not null,         -- an explainer with its settings
    kind varchar not null,
    latent integer not null,
    text varchar,
    error varchar,
    rule json,                       -- what the explanation says as a program; NULL where it is prose
    precision double,                -- of that program, on the documents that no explainer saw
    recall double,
    f1 double,
    control double,                  -- its F1 for another planted feature
    recognised boolean               -- whether its text is nearest, of all planted features, to the right one's
);
