//! Chat templates: minijinja set up as `transformers` sets up jinja2.
