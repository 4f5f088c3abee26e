"""What is known of every feature, held in memory as columns: what lists are narrowed, counted and ordered by.

1. `columns.Facts` has a row for each recorded feature and four parts: what a harvest found, what was explained and
   scored, the circuits it is in, what people called it. A million features take about 100 MB, texts included.
2. `held.facts` gives them out, and reads those parts again that were written to (`reading`).
3. `narrowing` filters, counts and orders them by `facets.Facets`.

Why not SQL alone: every page needs the best score of each feature, and on a million features with 300,000 explanations
that took seconds; over these columns a filter with the counts of all facets takes some 30 ms, and holds no lock.
"""
