//! What the rule promises, over synthetic loads and the shapes of the golden vectors.
