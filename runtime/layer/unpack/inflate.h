// The process that decompresses. See inflate.c.

#pragma once

#include <stdint.h>

enum compression { COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD };

// Turns this process into the decompressor: from stdin to stdout, as a user that owns nothing. Ends with DONE,
// LAYER_REFUSED and a line on stderr, or NOBODY_READS.
_Noreturn void be_inflater(enum compression compression, uint32_t user);
