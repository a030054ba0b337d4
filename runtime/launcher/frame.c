// The parser of the protocol. Whatever it is given, it answers with a frame, "more is needed" or what is wrong; it keeps nothing,
// allocates nothing, and never reads past what it was given.

#include "frame.h"

#include <ctype.h>
#include <signal.h>
#include <string.h>

enum { ANY = -1, TERMINAL_SIDE_MAX = 10000 };

// The length of each payload that has one length only; 0 for a type that no worker sends.
static bool type_is_known(unsigned type, int *length) {
    switch (type) {
    case FRAME_PREPARE:
    case FRAME_DEADLINE: *length = 8; return true;
    case FRAME_CREDIT:
    case FRAME_SIGNAL:
    case FRAME_RESIZE: *length = 4; return true;
    case FRAME_KILL:
    case FRAME_RELEASE:
    case FRAME_STATUS:
    case FRAME_RESET: *length = 0; return true;
    case FRAME_RUN:
    case FRAME_STDIN: *length = ANY; return true;
    default: return false;
    }
}

static enum frame_result bad(const char **why, const char *text) {
    *why = text;
    return FRAME_BAD;
}

uint64_t frame_u64(const struct frame *frame) {
    uint64_t value;
    memcpy(&value, frame->payload, sizeof value);
    return value;
}

uint32_t frame_u32(const struct frame *frame) {
    uint32_t value;
    memcpy(&value, frame->payload, sizeof value);
    return value;
}

static bool value_is_possible(const struct frame *frame, const char **why) {
    switch (frame->type) {
    case FRAME_CREDIT: *why = "credit of no output stream"; return frame->stream >= 1;
    case FRAME_SIGNAL: *why = "no such signal"; return frame_u32(frame) >= 1 && frame_u32(frame) < NSIG;
    case FRAME_STDIN: *why = "more than a chunk"; return frame->length <= MAX_CHUNK_BYTES;
    case FRAME_RESIZE:
        *why = "no terminal is that large";
        return (frame_u32(frame) & 0xffff) <= TERMINAL_SIDE_MAX && frame_u32(frame) >> 16 <= TERMINAL_SIDE_MAX;
    default: return true;
    }
}

enum frame_result frame_read(const uint8_t *bytes, size_t count, struct frame *frame, size_t *used, const char **why) {
    struct frame_header header;
    int length = 0;
    if (count < sizeof header) return FRAME_PARTIAL;
    memcpy(&header, bytes, sizeof header);
    if (!type_is_known(header.type, &length)) return bad(why, "unknown frame type");
    if (header.length > MAX_FRAME_BYTES) return bad(why, "frame too long");
    if (length != ANY && header.length != (uint32_t)length) return bad(why, "wrong length for its type");
    if (header.zero != 0 || header.stream > 3) return bad(why, "malformed header");
    if (header.stream != 0 && header.type != FRAME_CREDIT) return bad(why, "a stream where there is none");
    if (count - sizeof header < header.length) return FRAME_PARTIAL;
    *frame = (struct frame){header.type, header.stream, bytes + sizeof header, header.length};
    *used = sizeof header + header.length;
    return value_is_possible(frame, why) ? FRAME_WHOLE : FRAME_BAD;
}

// ---- RUN --------------------------------------------------------------------------------------------------------------

// The next string of what is left, or NULL if its NUL is missing.
static const char *next_string(const char **at, const char *end) {
    const char *string = *at, *nul = memchr(string, '\0', (size_t)(end - string));
    if (!nul) return NULL;
    *at = nul + 1;
    return string;
}

static bool is_name(const char *text, size_t max, const char *more) {
    size_t length = strlen(text);
    if (length == 0 || length > max) return false;
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)text[i]) && !strchr(more, text[i])) return false;
    }
    return true;
}

static bool limits_are_possible(const struct run_header *header) {
    return header->memory_bytes > 0 && header->memory_bytes < INT64_MAX && header->disk_bytes > 0 &&
           header->disk_bytes < INT64_MAX && header->deadline_ms < INT32_MAX && header->cpu_quota_us >= 1000 &&
           header->cpu_quota_us <= INT32_MAX && header->pids >= 1 && header->pids < INT32_MAX - 1;
}

static bool counts_are_possible(const struct run_header *header) {
    return header->layers >= 1 && header->layers <= MAX_LAYERS && header->arguments >= 1 &&
           header->arguments <= MAX_STRINGS && header->environment <= MAX_STRINGS - header->arguments && header->patterns <= MAX_PATTERNS &&
           (header->flags & ~(RUN_KEEP_HOME | RUN_FILES)) == 0 && !(header->flags & RUN_FILES && header->rows) && (header->rows == 0) == (header->columns == 0) &&
           header->rows <= TERMINAL_SIDE_MAX && header->columns <= TERMINAL_SIDE_MAX;
}

static bool refuse(const char **why, const char *text) {
    *why = text;
    return false;
}

bool frame_read_run(const struct frame *frame, struct run_request *run, const char **why) {
    if (frame->length < sizeof run->header) return refuse(why, "a run that is cut");
    memcpy(&run->header, frame->payload, sizeof run->header);
    const struct run_header *header = &run->header;
    if (!limits_are_possible(header)) return refuse(why, "impossible limits");
    if (!counts_are_possible(header)) return refuse(why, "impossible counts");

    const char *at = (const char *)frame->payload + sizeof *header, *end = (const char *)frame->payload + frame->length;
    if (!(run->id = next_string(&at, end)) || !is_name(run->id, MAX_ID_BYTES, "_-")) return refuse(why, "no id");
    if (!(run->hostname = next_string(&at, end)) || !is_name(run->hostname, MAX_HOSTNAME_BYTES, "-."))
        return refuse(why, "no host name");
    run->layers = at;
    for (unsigned i = 0; i < header->layers; i++) {
        const char *layer = next_string(&at, end);
        if (!layer || layer[0] != '/') return refuse(why, "a layer that is no absolute path");
    }
    run->program = at;
    const char *user = next_string(&at, end), *workdir = user ? next_string(&at, end) : NULL;
    if (!workdir || workdir[0] != '/') return refuse(why, "no user, or no absolute working directory");
    for (uint32_t i = 0; i < header->arguments; i++) {
        if (!next_string(&at, end)) return refuse(why, "an argument is missing");
    }
    for (uint32_t i = 0; i < header->environment; i++) {
        const char *variable = next_string(&at, end);
        if (!variable || !strchr(variable, '=')) return refuse(why, "an environment entry without =");
    }
    for (uint32_t i = 0; i < header->patterns; i++) {
        const char *pattern = next_string(&at, end);
        if (!pattern || pattern[0] != '/') return refuse(why, "a pattern that is no absolute path");
    }
    if (at != end) return refuse(why, "more than a run");
    run->program_bytes = (size_t)(end - run->program);
    return true;
}
