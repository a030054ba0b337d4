// One JSON line an event, on stdout, in the form of core/log.ts.

#pragma once

enum log_level { LOG_INFO, LOG_WARN, LOG_ERROR };

// FIELDS is a format of further members, such as "\"blank\":%u"; NULL for none. What is foreign goes through log_text first.
void log_event(enum log_level level, const char *event, const char *fields, ...) __attribute__((format(printf, 3, 4)));

// TEXT as the inside of a JSON string, cut to 200 bytes. The answer is good until the fourth call after this one.
const char *log_text(const char *text);
