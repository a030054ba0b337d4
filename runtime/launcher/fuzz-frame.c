// libFuzzer's target for the frame parser: whatever the bytes, frame.c answers within them. `make fuzz` builds it with
// AddressSanitizer and UndefinedBehaviorSanitizer, which see a read past the end; what only we can know is checked here.

#include "frame.h"

#include <stdlib.h>
#include <string.h>

static void check(bool holds) {
    if (!holds) abort();
}

// Every string that a run points at ends inside its frame, and there are as many as it says.
static void check_run(const struct frame *frame, const struct run_request *run) {
    const char *end = (const char *)frame->payload + frame->length, *at = run->layers;
    check(strlen(run->id) >= 1 && strlen(run->id) <= MAX_ID_BYTES && !strchr(run->id, '/'));
    check(strlen(run->hostname) <= MAX_HOSTNAME_BYTES);
    for (unsigned i = 0; i < run->header.layers; i++, at += strlen(at) + 1) check(at < end && at[0] == '/');
    check(at == run->program && run->program + run->program_bytes == end && end[-1] == '\0');
    size_t strings = 0;
    for (; at < end; at += strlen(at) + 1) strings++;
    check(strings == 2 + (size_t)run->header.arguments + run->header.environment + run->header.patterns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct frame frame;
    struct run_request run;
    for (size_t at = 0, used; at < size; at += used) {
        const char *why = NULL;
        enum frame_result result = frame_read(data + at, size - at, &frame, &used, &why);
        check((result == FRAME_BAD) == (why != NULL && result != FRAME_WHOLE) || result == FRAME_WHOLE);
        if (result != FRAME_WHOLE) break;
        check(used == FRAME_HEADER_BYTES + frame.length && used <= size - at && frame.length <= MAX_FRAME_BYTES);
        // What is cut anywhere is no frame yet.
        check(frame_read(data + at, used - 1, &frame, &used, &why) == FRAME_PARTIAL);
        check(frame_read(data + at, size - at, &frame, &used, &why) == FRAME_WHOLE);
        if (frame.type == FRAME_RUN && frame_read_run(&frame, &run, &why)) check_run(&frame, &run);
    }
    return 0;
}
