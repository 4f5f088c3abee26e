-- What a large run would take, from rates measured in this workspace: a row for each stage and part.

create table plans (
    run varchar not null,
    features bigint not null,
    machines integer not null,
    stage varchar not null,          -- harvest, explain, score
    part varchar not null,           -- reading, sorting; an explainer; a scorer
    unit varchar not null,           -- what the rate counts
    work double,                     -- units for all features
    rate double,                     -- units a second on the machine that was measured; NULL: never measured
    rate_lower double,               -- in the slowest tenth of the work measured
    rate_upper double,               -- in the fastest
    measured double,                 -- units that were done
    runs integer not null,
    workers integer,                 -- of those runs
    hours double,
    hours_lower double,
    hours_upper double,
    tokens_in double,
    tokens_in_lower double,          -- 95 %, bootstrap over features
    tokens_in_upper double,
    tokens_out double,
    tokens_out_lower double,
    tokens_out_upper double,
    usd double,                      -- tokens and machines, at the prices given; NULL where one is not
    bytes double,
    failed double,                   -- share of rows that are errors
    failed_lower double,             -- 95 %, Wilson
    failed_upper double,
    missing varchar                  -- the command that measures what was never measured here
);
