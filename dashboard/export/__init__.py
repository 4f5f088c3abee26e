"""Taking things away: a feature, a list or a circuit as one offline HTML file, SVG, CSV or JSON.

1. What an HTML file shows is gathered here and drawn by the same components as the pages (`widgets/*.js`), mounted by
   `offline.js` instead of Streamlit. It asks for nothing: its own content policy forbids every request.
2. Every file names its workspace, model, dictionaries, runs, versions and date, says what is estimated and what verified,
   and what was left out of it.
"""
