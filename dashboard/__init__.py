"""What a person looks at and clicks."""
