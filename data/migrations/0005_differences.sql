-- What `lacewing diff LEFT RIGHT` found: a row for each node and edge that was tested.

create table differences (
    run varchar not null,
    left_circuit varchar not null,
    right_circuit varchar not null,
    kind varchar not null,           -- node, edge
    left_name varchar not null,      -- a node as text; an edge as SOURCE -> TARGET
    right_name varchar not null,     -- the same in the other circuit: another latent where the dictionaries differ
    status varchar not null,         -- added, lost, re-weighted, sign changed, outside; same when it is no finding
    left_rank integer,               -- place in that circuit, NULL when it is not in it
    right_rank integer,
    left_effect double not null,
    right_effect double not null,
    difference double not null,      -- right minus left
    lower double not null,
    upper double not null,
    p double not null,               -- by permutation
    q double not null                -- Benjamini and Hochberg: a finding where it is at most the stated rate
);
