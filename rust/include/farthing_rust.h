/* The C ABI of the Rust staticlib. Every function that can fail returns false and puts a message in *error, which
 * is given back with farthing_bytes_free. Nothing here throws, aborts or keeps a pointer past the call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct FarthingBytes {
  uint8_t* data;
  size_t len;
} FarthingBytes;

void farthing_bytes_free(FarthingBytes bytes);

#include "farthing_template.h"
#include "farthing_tokenizer.h"

#ifdef __cplusplus
}
#endif
