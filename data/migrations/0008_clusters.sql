-- Clusters of contexts, found without a task, each with its circuit or the reason why it has none.

create table clusters (
    recipe varchar not null,         -- of model, dictionaries, text and config: a killed run goes on with what is here
    cluster integer not null,
    run varchar not null,
    vectors varchar not null,        -- a file of circuits/vectors
    size integer not null,           -- contexts
    documents integer not null,
    cohesion double not null,        -- mean angular likeness of two members
    cohesion_lower double not null,
    cohesion_upper double not null,
    control double not null,         -- of as many contexts drawn from all
    control_lower double not null,
    control_upper double not null,
    next_tokens json not null,       -- the most frequent next tokens and their counts
    examples json not null,          -- texts with their next tokens
    circuit varchar,
    error varchar,
    primary key (recipe, cluster),
    check ((circuit is null) <> (error is null))
);
