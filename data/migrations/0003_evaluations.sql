-- Points of curves with how single pairs lie; areas under curves.

alter table evaluations add column worst double;      -- the share of the pair farthest from the best value (1, or 0 for completeness)
alter table evaluations add column tenth double;      -- quantiles of the pairs' shares, whose mean is the value
alter table evaluations add column median double;
alter table evaluations add column ninetieth double;
alter table evaluations add column examples integer;  -- held-out pairs; their shares are in effects/CIRCUIT/part-evaluations.parquet
alter table evaluations add column draws integer;     -- random circuits

create table areas (
    circuit varchar not null,
    name varchar not null,           -- log area, CPR, CMD
    kind varchar not null,           -- faithfulness, completeness
    mask varchar not null,           -- nodes, edges
    ablation varchar not null,
    value double not null,
    lower double not null,
    upper double not null,
    control double not null,         -- the same for random circuits of each size
    control_lower double,
    control_upper double
);
