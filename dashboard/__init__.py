"""What a person looks at and clicks: Streamlit pages over one workspace, on 127.0.0.1."""
