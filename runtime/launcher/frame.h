// Reads frames from foreign bytes. Pure functions of their input: what the fuzzer feeds.

#pragma once
#include "protocol.h"

#include <stdbool.h>
#include <stddef.h>

struct frame {
    enum frame_type type;
    unsigned stream;
    const uint8_t *payload;
    uint32_t length;
};

// What a RUN frame asks for. Strings point into the frame's payload.
struct run_request {
    struct run_header header;
    const char *id, *hostname;
    const char *layers;    // header.layers strings, one after the other.
    const char *program;   // user, workdir, arguments, environment, patterns: what the init is handed as it stands.
    size_t program_bytes;
};

enum frame_result { FRAME_BAD = -1, FRAME_PARTIAL = 0, FRAME_WHOLE = 1 };

// FRAME_WHOLE: the first frame of BYTES is in *FRAME, and its length in all in *USED. FRAME_BAD: *WHY says what is wrong.
enum frame_result frame_read(const uint8_t *bytes, size_t count, struct frame *frame, size_t *used, const char **why);

// False, and *WHY, if the payload is not a run that could be.
bool frame_read_run(const struct frame *frame, struct run_request *run, const char **why);

// The integer that the payload is; the payload's length has been checked by frame_read.
uint64_t frame_u64(const struct frame *frame);
uint32_t frame_u32(const struct frame *frame);
