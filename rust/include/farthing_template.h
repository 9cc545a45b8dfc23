/* Chat templates (rust/src/template). Included by farthing_rust.h. */
