// Patterns as sets of places, one bit a place: each name is looked at once for each, so that no pattern takes long, whatever is in it.

#include "glob.h"

#include <string.h>

static struct {
    const char *names[MAX_ARTIFACT_COMPONENTS];
    unsigned count;
} patterns[MAX_ARTIFACT_PATTERNS];
static unsigned pattern_count;

// ---- One name ---------------------------------------------------------------------------------------------------------

// One character on: what ? stands for is a character, not a byte of one.
static const char *next_character(const char *name) {
    do name++;
    while (((unsigned char)*name & 0xc0) == 0x80);
    return name;
}

// [abc], [a-z], [!a]. *AT is behind the bracket, and comes to stand behind its end; a bracket without an end is itself.
static bool match_class(const char **at, unsigned char c) {
    const char *p = *at;
    bool is_inverse = *p == '!' || *p == '^', found = false;
    if (is_inverse) p++;
    for (bool first = true; *p && (*p != ']' || first); first = false) {
        unsigned char low = (unsigned char)*p++, high = low;
        if (p[0] == '-' && p[1] && p[1] != ']') high = (unsigned char)p[1], p += 2;
        if (c >= low && c <= high) found = true;
    }
    if (*p != ']') return c == '[';
    *at = p + 1;
    return found != is_inverse;
}

// One character of the pattern against one of the name. *PATTERN moves on if they match.
static bool match_one(const char **pattern, const char *name) {
    const char *p = *pattern;
    bool matches;
    switch (*p) {
    case '\0': return false;
    case '?': p++, matches = true; break;
    case '[': p++, matches = match_class(&p, (unsigned char)*name); break;
    case '\\':
        if (p[1]) p++;
        // Fall through.
    default: matches = *p++ == *name;
    }
    if (matches) *pattern = p;
    return matches;
}

static bool match_name(const char *pattern, const char *name) {
    const char *star = NULL, *retry = NULL;
    while (*name) {
        bool is_any = *pattern == '?';
        if (*pattern == '*') star = ++pattern, retry = name;
        else if (match_one(&pattern, name)) name = is_any ? next_character(name) : name + 1;
        else if (star) pattern = star, name = retry = next_character(retry);
        else return false;
    }
    while (*pattern == '*') pattern++;
    return *pattern == '\0';
}

// ---- All of them ------------------------------------------------------------------------------------------------------

static bool is_any_depth(unsigned pattern, unsigned place) {
    return strcmp(patterns[pattern].names[place], "**") == 0;
}

// ** may stand for no directory at all.
static uint64_t with_skips(unsigned pattern, uint64_t places) {
    for (unsigned i = 0; i < patterns[pattern].count; i++) {
        if (places >> i & 1 && is_any_depth(pattern, i)) places |= UINT64_C(1) << (i + 1);
    }
    return places;
}

static unsigned cut(char *pattern, const char *names[]) {
    unsigned count = 0;
    for (char *rest = pattern, *name; (name = strsep(&rest, "/"));) {
        if (*name == '\0') continue;
        if (count == MAX_ARTIFACT_COMPONENTS) return 0;
        names[count++] = name;
    }
    return count;
}

struct progress glob_begin(const struct artifacts *wanted) {
    struct progress root = {0};
    pattern_count = wanted->count < MAX_ARTIFACT_PATTERNS ? wanted->count : MAX_ARTIFACT_PATTERNS;
    for (unsigned i = 0; i < pattern_count; i++) {
        patterns[i].count = cut(wanted->patterns[i], patterns[i].names);
        if (patterns[i].count > 0) root.of[i] = with_skips(i, 1);
    }
    return root;
}

static uint64_t step(unsigned pattern, uint64_t from, const char *name) {
    unsigned end = patterns[pattern].count;
    uint64_t to = from & UINT64_C(1) << end; // All below is named.
    for (unsigned i = 0; i < end; i++) {
        if (!(from >> i & 1)) continue;
        if (is_any_depth(pattern, i)) to |= UINT64_C(1) << i;
        else if (match_name(patterns[pattern].names[i], name)) to |= UINT64_C(1) << (i + 1);
    }
    return with_skips(pattern, to);
}

bool glob_step(const struct progress *from, const char *name, struct progress *to) {
    bool leads_on = false;
    for (unsigned i = 0; i < pattern_count; i++) {
        to->of[i] = from->of[i] ? step(i, from->of[i], name) : 0;
        if (to->of[i]) leads_on = true;
    }
    return leads_on;
}

bool glob_is_named(const struct progress *progress) {
    for (unsigned i = 0; i < pattern_count; i++) {
        if (patterns[i].count > 0 && progress->of[i] >> patterns[i].count & 1) return true;
    }
    return false;
}
