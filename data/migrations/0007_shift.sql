-- A probe freed from a cue (circuits/shift): what could be removed, and what the classifiers are worth.

create table shift_latents (
    run varchar not null,
    node varchar not null,           -- data.words.Node as text
    dictionary varchar,
    latent integer not null,
    site varchar not null,
    rank integer not null,           -- 1 has the largest effect on the probe
    effect double not null,          -- part of the signed probe logit lost when the latent is set to zero, estimated
    lower double not null,
    upper double not null,
    verified double not null,        -- the same by doing it
    verified_lower double not null,
    verified_upper double not null,
    cue double not null,             -- 2 AUROC - 1 for the cue in the neutral texts
    cue_lower double not null,
    cue_upper double not null,
    tokens json not null,            -- where it is strongest (untrusted text)
    removed boolean not null
);

create table shift_scores (
    run varchar not null,
    classifier varchar not null,
    measure varchar not null,        -- label, cue, worst group
    value double not null,           -- share of the test's texts
    lower double not null,
    upper double not null,
    control double,                  -- as many latents removed at random
    trials integer not null,
    removed integer not null         -- nodes set to zero
);
