"""What a person looks at and clicks: four Streamlit pages over one workspace, on 127.0.0.1."""
