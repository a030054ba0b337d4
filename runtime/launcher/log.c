// Writes log lines. A reader that is slow or gone costs lines, never the launcher's time: stdout is made non-blocking by main.

#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_BYTES = 200, TEXTS = 4, LINE_BYTES = 2048 };

const char *log_text(const char *text) {
    static char buffers[TEXTS][TEXT_BYTES * 6 + 1];
    static unsigned next;
    char *out = buffers[next++ % TEXTS], *start = out;
    for (size_t i = 0; text[i] && i < TEXT_BYTES; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') *out++ = '\\', *out++ = (char)c;
        else if (c < 0x20 || c >= 0x7f) out += sprintf(out, "\\u%04x", c);
        else *out++ = (char)c;
    }
    *out = '\0';
    return start;
}

void log_event(enum log_level level, const char *event, const char *fields, ...) {
    static const char *const levels[] = {"info", "warn", "error"};
    char line[LINE_BYTES], time[32];
    struct timeval now;
    struct tm utc;
    gettimeofday(&now, NULL);
    gmtime_r(&now.tv_sec, &utc);
    strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &utc);
    int length = snprintf(line, sizeof line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"event\":\"%s\",\"process\":\"launcher\"",
                          time, (long)now.tv_usec / 1000, levels[level], event);
    if (fields) {
        va_list args;
        line[length++] = ',';
        va_start(args, fields);
        length += vsnprintf(line + length, sizeof line - (size_t)length, fields, args);
        va_end(args);
    }
    if (length > LINE_BYTES - 3) length = LINE_BYTES - 3;
    line[length++] = '}';
    line[length++] = '\n';
    ssize_t written = write(STDOUT_FILENO, line, (size_t)length);
    (void)written;
}
