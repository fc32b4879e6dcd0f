"""What people see of results: tables, sentences, pages, figures. Nothing is computed here."""
