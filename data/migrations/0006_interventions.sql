-- Interventions: what was changed, what was predicted, what was measured, and the controls beside it.

create table interventions (
    intervention varchar primary key,
    run varchar not null,
    model varchar not null,          -- digest
    task varchar,                    -- NULL for a prompt of one's own
    circuit varchar,                 -- where the nodes were taken from, if from a circuit
    example varchar not null,        -- the prompt, or the first of the task's
    does varchar not null,           -- a file of circuits/interventions
    amount double,
    reference varchar not null,
    attention varchar not null,      -- free, frozen
    nodes json not null,             -- names; without @PLACE they are changed at all positions
    size integer not null,           -- how many nodes
    examples integer not null,       -- held-out prompts
    metric varchar not null,
    before double not null,          -- mean metric
    before_lower double not null,
    before_upper double not null,
    after double not null,
    after_lower double not null,
    after_upper double not null,
    predicted double not null,       -- change of the metric, as the sum of the sites' estimated effects
    predicted_lower double not null,
    predicted_upper double not null,
    measured double not null,        -- change of the metric: after - before, example by example
    measured_lower double not null,
    measured_upper double not null,
    control double,                  -- the change by as many random live nodes of the same sites and places
    control_lower double,
    control_upper double,
    accuracy_before double not null, -- share of prompts whose answer is preferred
    accuracy_after double not null,
    control_task varchar,            -- another task, with the nodes changed at all positions
    control_before double,
    control_after double,
    control_change double,
    control_change_lower double,
    control_change_upper double,
    control_accuracy_before double,
    control_accuracy_after double,
    details json not null            -- per example: predicted, measured; top tokens and text before and after
);

create table imports (
    circuit varchar primary key,     -- the circuit that was made of it
    run varchar not null,
    format varchar not null,         -- a file of circuits/formats
    source varchar not null,         -- the file's name
    digest varchar not null,         -- of its content
    details json not null            -- what of it has no column here: claims of exact effects, labels, the format's own fields
);
