-- What a score says beyond one number, and how far its judge is to be believed.

alter table scores add column statistic varchar;            -- what value is: auroc, correlation, accuracy ...
alter table scores add column chance double;                -- what a text that says nothing would score
alter table scores add column natural_rate double;          -- share of windows that are active, in that half of the harvest
alter table scores add column natural_precision double;     -- of the judge's yes, at that rate
alter table scores add column natural_precision_lower double;
alter table scores add column natural_precision_upper double;
alter table scores add column natural_f1 double;
alter table scores add column natural_f1_lower double;
alter table scores add column natural_f1_upper double;
alter table scores add column natural_auprc double;
alter table scores add column natural_auprc_lower double;
alter table scores add column natural_auprc_upper double;
alter table scores add column balanced_accuracy double;     -- never to be read alone: it hides labels that are too broad
alter table scores add column balanced_accuracy_lower double;
alter table scores add column balanced_accuracy_upper double;
alter table scores add column failures integer;             -- requests without a usable answer; details say in which states
alter table scores add column agreement double;             -- share of equal verdicts in two orders, NULL where asked once
alter table scores add column degenerate boolean;           -- the judge's answers hardly depend on what it is asked
alter table scores add column judge varchar;                -- the model that judged, NULL where none did
alter table scores add column judge_difference double;      -- right - swapped explanation on planted features, by that judge
alter table scores add column judge_lower double;
alter table scores add column judge_upper double;
alter table scores add column tokens_in integer;            -- asked for this row, answers from the ledger included
alter table scores add column tokens_out integer;

create view contested as                                    -- explanations on which scorers contradict each other
    select explanation,
        list(scorer order by scorer) filter (where difference_lower > 0) as fits,
        list(scorer order by scorer) filter (where difference_upper < 0) as misfits
    from scores where statistic is distinct from 'intruder accuracy'
    group by explanation
    having bool_or(difference_lower > 0) and bool_or(difference_upper < 0);
