-- What verification says beyond single nodes.

alter table edges add column verified_lower double;
alter table edges add column verified_upper double;
alter table nodes add column second_order double;  -- size of the second-order term of the effect beside the first; NULL while only estimated
alter table nodes add column unreliable boolean;   -- whether that is too large for a first-order estimate
alter table circuits add column missed json;       -- upper bounds on the nodes that were not verified: bound, confidence, chance, subsets, sample
