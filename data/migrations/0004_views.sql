-- How sure a circuit is of its members, its strongest paths, and views that answer the common questions.

alter table nodes add column mean_absolute double;   -- larger than |effect| where signs cancel between examples
alter table nodes add column sign_agreement double;  -- of the examples in which it is not 0, the share with the effect's sign
alter table nodes add column inclusion double;       -- share of resampled circuits that hold it
alter table edges add column mean_absolute double;
alter table edges add column sign_agreement double;
alter table edges add column inclusion double;

create table paths (
    circuit varchar not null,
    rank integer not null,           -- 1 is the strongest
    token varchar,                   -- what stands where it begins, in the circuit's example prompt
    nodes json not null,             -- from the first to the last before the metric
    weight double not null,          -- part of the metric that travels along it, estimated
    lower double not null,
    upper double not null,
    share double,                    -- of the total effect
    share_lower double,
    share_upper double
);

-- A row for each node of a circuit that is a feature.
create view memberships as
select n.dictionary, n.latent, n.circuit, c.task, c.model, n.node, n.site, n.layer, n.position, n.role, n.rank,
       n.effect, n.lower, n.upper, n.mean_absolute, n.sign_agreement, n.inclusion, n.verified
from nodes n join circuits c using (circuit)
where n.kind = 'latent' and n.dictionary is not null;

-- A row for each feature of each circuit, at its strongest position there.
create view feature_circuits as
select dictionary, latent, circuit, any_value(task) as task, count(*) as positions,
       arg_max(effect, abs(effect)) as effect, arg_max(lower, abs(effect)) as lower,
       arg_max(upper, abs(effect)) as upper, arg_max(position, abs(effect)) as position, min(rank) as rank
from memberships group by dictionary, latent, circuit;

-- Features in several circuits, those in the most first.
create view shared_features as
select dictionary, latent, count(*) as circuits, count(distinct task) as tasks, list(circuit order by circuit) as circuit_list,
       list(distinct task order by task) as task_list, arg_max(effect, abs(effect)) as strongest, min(rank) as best_rank
from feature_circuits group by dictionary, latent having count(*) > 1
order by circuits desc, abs(strongest) desc, dictionary, latent;

-- Features whose effect has opposite signs in two circuits; certain when neither interval holds 0.
create view opposite_signs as
select a.dictionary, a.latent, a.circuit as positive_circuit, a.task as positive_task, a.effect as positive_effect,
       b.circuit as negative_circuit, b.task as negative_task, b.effect as negative_effect,
       a.lower > 0 and b.upper < 0 as certain
from feature_circuits a join feature_circuits b using (dictionary, latent)
where a.effect > 0 and b.effect < 0
order by certain desc, least(a.effect, -b.effect) desc, a.dictionary, a.latent, a.circuit, b.circuit;

-- Edges by size within their circuit; share is of the absolute effect of all its edges.
create view strongest_edges as
select c.task, e.circuit, row_number() over (partition by e.circuit order by abs(e.effect) desc, e.source, e.target) as rank,
       e.source, e.target, s.role as source_role, t.role as target_role, e.effect, e.lower, e.upper, e.verified,
       e.inclusion, abs(e.effect) / nullif(sum(abs(e.effect)) over (partition by e.circuit), 0) as share
from edges e join circuits c using (circuit)
left join nodes s on s.circuit = e.circuit and s.node = e.source
left join nodes t on t.circuit = e.circuit and t.node = e.target
order by e.circuit, rank;

-- Paths from the tokens to the metric, spelled out.
create view strongest_paths as
select c.task, p.circuit, p.rank, p.token, array_to_string(cast(p.nodes as varchar[]), ' -> ') || ' -> metric' as path,
       p.weight, p.lower, p.upper, p.share, p.share_lower, p.share_upper
from paths p join circuits c using (circuit)
order by p.circuit, p.rank;

-- Every circuit with its faithfulness at its own size, which nobody chose, and at the size furthest above the control, which
-- flatters by being chosen.
create view best_evaluations as
with own as (
    select circuit, 'nodes' as mask, count(*) as kept from nodes where kind <> 'logit' group by circuit
    union all select circuit, 'edges', count(*) from edges group by circuit),
points as (
    select v.circuit, v.mask, v.ablation, v.size, v.value, v.lower, v.upper, v.control, o.kept
    from evaluations v left join own o using (circuit, mask) where v.kind = 'faithfulness')
select c.circuit, c.task, c.method, p.mask, p.ablation,
       arg_min(p.size, abs(p.size - p.kept)) as own_size, arg_min(p.value, abs(p.size - p.kept)) as own_value,
       arg_min(p.lower, abs(p.size - p.kept)) as own_lower, arg_min(p.upper, abs(p.size - p.kept)) as own_upper,
       arg_min(p.control, abs(p.size - p.kept)) as own_control,
       arg_max(p.size, p.value - p.control) as best_size, arg_max(p.value, p.value - p.control) as best_value,
       arg_max(p.lower, p.value - p.control) as best_lower, arg_max(p.upper, p.value - p.control) as best_upper,
       arg_max(p.control, p.value - p.control) as best_control
from circuits c left join points p using (circuit)
group by c.circuit, c.task, c.method, p.mask, p.ablation
order by c.task, c.circuit, p.mask, p.ablation;
