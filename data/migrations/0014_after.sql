-- What is found out about explanations and dictionaries after scoring: one number a row, with its null.

create table findings (
    run varchar not null,
    verb varchar not null,           -- similar, collisions, discriminate, stability, counterexamples, relabel
    about varchar not null,          -- a dictionary, two with a blank between them, a feature, or an explain run
    measure varchar not null,
    value double,
    lower double,
    upper double,
    control double,                  -- the same under the null
    control_lower double,
    control_upper double,
    difference double,               -- value - control, paired
    difference_lower double,
    difference_upper double,
    against varchar,                 -- what the null is
    trials integer not null,         -- pairs, features, windows
    error varchar,
    details json
);

create table matches (               -- latents of two dictionaries that are like each other
    run varchar not null,
    dictionary varchar not null,
    latent integer not null,
    other varchar not null,
    other_latent integer not null,
    kind varchar not null,           -- mutual (each is the other's nearest), exact (of the matching with the largest sum)
    cosine double not null,          -- of decoder rows
    jaccard double,                  -- of the tokens at which they fire, NULL where it was not counted
    correlation double,              -- of activations over all tokens
    explanation double               -- cosine of the vectors of their newest explanations
);

create table counterexamples (       -- windows of the explain half that contradict an explanation
    run varchar not null,
    dictionary varchar not null,
    latent integer not null,
    explanation varchar not null,
    harvest varchar not null,
    scorer varchar not null,
    kind varchar not null,           -- silent (the text fits, the feature does not fire), missed (it fires, the text does not fit)
    rank integer not null,           -- 1 is the worst
    judgement double not null,
    activation double not null,
    document integer not null,
    start integer not null,
    length integer not null
);
