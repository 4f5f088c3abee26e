"""Questions worth asking of any workspace, as the SQL page offers them."""

from __future__ import annotations

EXAMPLES = {
    "Features in several circuits, the strongest first": (
        "select dictionary, latent, circuits, task_list, round(strongest, 3) as strongest\nfrom shared_features limit 100"
    ),
    "Explanations that beat their control for certain": (
        "select e.dictionary, e.latent, e.text, s.scorer, round(s.value, 2) as score, round(s.control, 2) as control,\n"
        "       round(s.difference_lower, 2) as at_least\n"
        "from scores s join explanations e using (explanation)\n"
        "where s.difference_lower > 0 order by s.difference_lower desc"
    ),
    "Explanations on which scorers contradict each other": (
        "select e.dictionary, e.latent, e.text, c.fits, c.misfits\nfrom contested c join explanations e using (explanation)"
    ),
    "Estimates that the exact effect contradicts": (
        "select circuit, node, effect as estimated, verified, dictionary, latent\nfrom nodes\n"
        "where verified is not null and effect * verified < 0 order by abs(effect) desc"
    ),
    "How much of each circuit no dictionary explains": (
        "select circuit, round(sum(abs(effect)) filter (where kind = 'error') / sum(abs(effect)), 3) as in_errors\n"
        "from nodes where kind <> 'logit' group by circuit order by in_errors desc"
    ),
    "Dense features that someone explained": (
        "select f.dictionary, f.latent, round(f.density, 3) as density, e.text\n"
        "from features f join explanations e using (dictionary, latent)\n"
        "where f.density > 0.1 and e.text is not null order by f.density desc"
    ),
    "What the decoder of each feature promotes most": (
        "select dictionary, latent, statistics->'top_logits'->0->>0 as token,\n"
        "       round((statistics->'top_logits'->0->>1)::double, 2) as logit\n"
        "from features order by logit desc limit 200"
    ),
    "Labels, by whom": "select author, dictionary, latent, text, written from labels order by written desc",
    "Where the time went": (
        "select verb, count(*) as runs, count(*) filter (where status = 'failed') as failed,\n"
        "       round(sum((summary->>'seconds')::double) / 60, 1) as minutes\nfrom runs group by verb order by minutes desc"
    ),
}
