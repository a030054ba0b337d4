// The launcher's own clock. CLOCK_BOOTTIME goes on while the machine sleeps: so do the leases of its worker.

#pragma once
#include <stdint.h>
#include <time.h>

static inline int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline int64_t now_ms(void) {
    return now_us() / 1000;
}
