-- The best executable rule of a feature beside each of its explanations, run over all tokens of the harvest's score half.

alter table explanations add column state varchar;           -- explained, dead, too rare, too dense, parse_failed ...
alter table explanations add column rule json;               -- kind and options; its phrase is in details
alter table explanations add column rule_fired integer;      -- tokens at which the feature fires
alter table explanations add column rule_said integer;       -- tokens at which the rule does
alter table explanations add column precision double;        -- of the rule, at the feature's own rate
alter table explanations add column precision_lower double;
alter table explanations add column precision_upper double;
alter table explanations add column recall double;
alter table explanations add column recall_lower double;
alter table explanations add column recall_upper double;
alter table explanations add column rule_f1 double;
alter table explanations add column rule_f1_lower double;
alter table explanations add column rule_f1_upper double;
alter table explanations add column rule_control double;     -- F1 of the same rule and another feature's firings
alter table explanations add column rule_control_lower double;
alter table explanations add column rule_control_upper double;
alter table explanations add column rule_difference double;  -- rule_f1 - rule_control, paired bootstrap over documents
alter table explanations add column rule_difference_lower double;
alter table explanations add column rule_difference_upper double;

-- What a label adds over the best rule of its feature: AUROC on the windows that the scorer judged.
alter table scores add column rule double;                   -- of the rule: how often it fires in each window
alter table scores add column rule_lower double;
alter table scores add column rule_upper double;
alter table scores add column added double;                  -- value - rule, paired bootstrap over documents
alter table scores add column added_lower double;
alter table scores add column added_upper double;
