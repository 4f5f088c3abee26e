"""What Streamlit runs: the app. Alone in its folder on purpose.

Streamlit takes a folder `pages/` beside its script for pages of its own old kind, and puts the script's folder first on
`sys.path`; neither must be `dashboard/`.
"""

from dashboard.app import main

main()
