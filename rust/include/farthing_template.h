/* Chat templates (rust/src/template). Included by farthing_rust.h. */

typedef struct FarthingTemplate FarthingTemplate;

/* `source`: the Jinja text, UTF-8. */
bool farthing_template_compile(const uint8_t* source,
                               size_t len,
                               FarthingTemplate** out,
                               FarthingBytes* error);
/* May be null. */
void farthing_template_free(FarthingTemplate* compiled);
/* `variables`: a JSON object, UTF-8. `now`: local time in ISO 8601. Many threads may render at once. */
bool farthing_template_render(const FarthingTemplate* compiled,
                              const uint8_t* variables,
                              size_t variables_len,
                              const uint8_t* now,
                              size_t now_len,
                              FarthingBytes* out,
                              FarthingBytes* error);
