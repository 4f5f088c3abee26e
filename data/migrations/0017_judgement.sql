-- What people say of features, explanations, circuits and nodes, and the lists they keep. No row is ever changed or taken
-- away: to undo is to say the older thing again.

create table judgements (
    number bigint primary key,       -- in the order in which they were said
    batch varchar not null,          -- statements of one act, undone together
    written timestamp not null,
    rater varchar not null,          -- who says it
    kind varchar not null,           -- label, rating, note, triage, list (its name), member
    about varchar not null,          -- feature, explanation, circuit, node, list
    subject varchar not null,        -- DICTIONARY/LATENT, an explanation, a circuit, CIRCUIT NODE, a list
    item varchar not null,           -- of a list: its member, as `feature DICTIONARY/LATENT` or `circuit ID`; else empty
    value varchar,                   -- NULL takes back what was said
    replaces bigint,                 -- the statement that this one takes the place of
    undoes varchar,                  -- the batch that this one undoes
    details json                     -- what was seen when it was said
);

-- What holds now: the last statement of each rater on each thing; of lists, which all share, the last of anybody.
create view current_judgements as
select * exclude (batch, replaces, undoes) from judgements
qualify row_number() over (partition by kind, about, subject, item, case when kind in ('list', 'member') then '' else rater end
                           order by number desc) = 1 and value is not null;
