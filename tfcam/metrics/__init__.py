"""How far a map can be trusted: faithfulness, localisation, sanity, complexity."""
