-- What language models were asked: a row for each request that ended, copied from the lines of the ledger (`responses/`).

create table responses (
    digest varchar not null,         -- of endpoint, model, messages, schema and sampling: the line's name in the ledger
    run varchar,                     -- the run that asked
    url varchar not null,
    model varchar not null,
    state varchar not null,          -- ok, parse_failed, refused (kept); timed_out, rate_limited, failed, stopped_by_budget
    reason varchar,
    characters integer not null,     -- of the prompt, schema included
    tokens_in integer,               -- as the endpoint counts them
    tokens_out integer,
    usd double,                      -- at the prices given to the run; NULL without any
    seconds double not null,         -- of the try that was answered, from sending to the last byte
    attempts integer not null,       -- how often it was sent
    finished timestamp not null
);

create table response_parts (
    part varchar primary key,        -- a file of `responses/`
    bytes bigint not null            -- how much of it is in `responses`
);
