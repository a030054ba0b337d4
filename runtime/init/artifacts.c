// Walks, and writes a tar. See artifacts.h.

#include "artifacts.h"
#include "glob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    BLOCK_BYTES = 512,
    MAX_DEPTH = 64,       // Of directories: each that is open takes a descriptor and some memory.
    MAX_ENTRIES = 100000, // Looked at in all.
};

static struct {
    const struct artifacts *wanted;
    int64_t until_ms;
    char path[MAX_ARTIFACT_PATH]; // Without the leading slash: what the entry is called.
    unsigned depth, entries;
    uint32_t files;
    uint64_t bytes;
    uint64_t left_files, left_bytes;
    bool more;   // The walk came to a bound, or could not look somewhere: there may be more than is counted as left out.
    bool unread; // Nobody reads the tar any more.
} walk;

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// ---- Bytes ------------------------------------------------------------------------------------------------------------

static struct {
    int socket;
    size_t used;
    char bytes[64 * 1024]; // A multiple of a block.
} out;

static void flush(void) {
    for (size_t sent = 0; sent < out.used && !walk.unread;) {
        ssize_t more = send(out.socket, out.bytes + sent, out.used - sent, MSG_NOSIGNAL);
        if (more < 0 && errno != EINTR) walk.unread = true;
        if (more > 0) sent += (size_t)more;
    }
    out.used = 0;
}

static void put(const void *bytes, size_t count) {
    for (const char *from = bytes; count > 0;) {
        if (out.used == sizeof out.bytes) flush();
        size_t piece = sizeof out.bytes - out.used < count ? sizeof out.bytes - out.used : count;
        memcpy(out.bytes + out.used, from, piece);
        out.used += piece, from += piece, count -= piece;
    }
}

static void put_zeros(uint64_t count) {
    static const char zeros[BLOCK_BYTES];
    for (; count > 0; count -= count < BLOCK_BYTES ? count : BLOCK_BYTES) put(zeros, count < BLOCK_BYTES ? (size_t)count : BLOCK_BYTES);
}

static void pad(uint64_t content) {
    put_zeros((BLOCK_BYTES - content % BLOCK_BYTES) % BLOCK_BYTES);
}

// ---- Entries ----------------------------------------------------------------------------------------------------------

// As pax(1) has it under "ustar Interchange Format".
struct ustar {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2];
    char owner[32], group[32], device_major[8], device_minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct ustar) == BLOCK_BYTES, "a header is a block");

static void put_header(const char *name, char type, unsigned mode, uint64_t size, uint64_t mtime) {
    struct ustar header = {.type = type, .magic = "ustar", .version = {'0', '0'}};
    memcpy(header.name, name, strnlen(name, sizeof header.name));
    snprintf(header.mode, sizeof header.mode, "%07o", mode);
    snprintf(header.uid, sizeof header.uid, "%07o", 0);
    snprintf(header.gid, sizeof header.gid, "%07o", 0);
    snprintf(header.size, sizeof header.size, "%011llo", (unsigned long long)size);
    snprintf(header.mtime, sizeof header.mtime, "%011llo", (unsigned long long)mtime);
    memset(header.checksum, ' ', sizeof header.checksum);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof header; i++) sum += ((unsigned char *)&header)[i];
    snprintf(header.checksum, sizeof header.checksum, "%06o", sum);
    put(&header, sizeof header);
}

// "31 path=out/…\n": the number counts all of it, its own digits too.
static void put_long_name(const char *name) {
    char record[MAX_ARTIFACT_PATH + 16];
    size_t rest = strlen(" path=\n") + strlen(name), length = rest + 1;
    while (length != rest + (size_t)snprintf(NULL, 0, "%zu", length)) length++;
    snprintf(record, sizeof record, "%zu path=%s\n", length, name);
    put_header("PaxHeader", 'x', 0644, length, 0);
    put(record, length);
    pad(length);
}

static uint64_t fit_time(time_t seconds) {
    const time_t last = 077777777777;
    return seconds < 0 ? 0 : (uint64_t)(seconds > last ? last : seconds);
}

// As many bytes as the header has said, whatever has become of the file. False if some are made up.
static bool put_content(int fd, uint64_t size) {
    for (uint64_t left = size; left > 0 && !walk.unread;) {
        if (out.used == sizeof out.bytes) flush();
        size_t room = sizeof out.bytes - out.used;
        ssize_t got = read(fd, out.bytes + out.used, left < room ? (size_t)left : room);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return put_zeros(left), false;
        out.used += (size_t)got, left -= (uint64_t)got;
    }
    return true;
}

// As many as the worker reads: a file may be said to have 8 EiB, and there may be several of them.
static void leave_out(const struct stat *status) {
    const uint64_t most = 999999999999999, size = (uint64_t)status->st_size;
    walk.left_files++;
    walk.left_bytes = size > most - walk.left_bytes ? most : walk.left_bytes + size;
}

static void take(int fd, const struct stat *status) {
    uint64_t size = (uint64_t)status->st_size;
    if (walk.files >= walk.wanted->max_files || size > walk.wanted->max_bytes - walk.bytes) return leave_out(status);
    if (strlen(walk.path) > sizeof((struct ustar *)0)->name) put_long_name(walk.path);
    put_header(walk.path, '0', status->st_mode & 0777, size, fit_time(status->st_mtime));
    bool is_whole = put_content(fd, size);
    pad(size);
    if (is_whole) {
        walk.files++;
        walk.bytes += size;
    } else {
        put_header("/void", '0', 0, 0, 0);
        leave_out(status);
    }
}

static void put_summary(void) {
    char text[64];
    int length = snprintf(text, sizeof text, "%llu %llu %d\n", (unsigned long long)walk.left_files, (unsigned long long)walk.left_bytes, walk.more);
    put_header("/left-out", '0', 0, (uint64_t)length, 0);
    put(text, (size_t)length);
    pad((uint64_t)length);
}

// ---- The walk ---------------------------------------------------------------------------------------------------------

static bool is_over(void) {
    bool is_bound = walk.entries >= MAX_ENTRIES || now_ms() >= walk.until_ms;
    if (is_bound) walk.more = true;
    return is_bound || walk.unread;
}

// One name below DIRECTORY, which is in this file system and no link: what is mounted there answers EXDEV.
static int open_below(int directory, const char *name, int flags) {
    struct open_how how = {
        .flags = (uint64_t)(O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC | flags),
        .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV | RESOLVE_BENEATH,
    };
    return (int)syscall(SYS_openat2, directory, name, &how, sizeof how);
}

static void walk_directory(int directory, const struct progress *progress);

static void visit_directory(int parent, const char *name, const struct progress *progress) {
    int fd = walk.depth < MAX_DEPTH ? open_below(parent, name, O_DIRECTORY) : -1;
    if (fd < 0) {
        if (walk.depth >= MAX_DEPTH || errno != EXDEV) walk.more = true;
        return;
    }
    walk.depth++;
    walk_directory(fd, progress);
    walk.depth--;
}

// What it is was asked before it is opened: to open a FIFO or a device is to do something. And once more after that.
static void visit_file(int parent, const char *name, const struct stat *seen) {
    struct stat status;
    int fd = open_below(parent, name, 0);
    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) take(fd, &status);
    else if (fd >= 0 || errno != EXDEV) leave_out(seen);
    if (fd >= 0) close(fd);
}

static void visit(int parent, const char *name, const struct progress *progress) {
    struct stat status;
    if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW)) walk.more = true;
    else if (S_ISDIR(status.st_mode)) visit_directory(parent, name, progress);
    else if (S_ISREG(status.st_mode) && glob_is_named(progress)) visit_file(parent, name, &status);
}

static void visit_entry(int parent, const char *name, const struct progress *progress) {
    struct progress next;
    if (!glob_step(progress, name, &next)) return;
    size_t length = strlen(walk.path);
    int added = snprintf(walk.path + length, sizeof walk.path - length, "%s%s", length ? "/" : "", name);
    // One byte less than a path may have: the slash before it counts.
    if (length + (size_t)added < sizeof walk.path - 1) visit(parent, name, &next);
    else walk.more = true;
    walk.path[length] = '\0';
}

static void walk_directory(int directory, const struct progress *progress) {
    DIR *stream = fdopendir(directory);
    if (!stream) {
        close(directory);
        walk.more = true;
        return;
    }
    for (const struct dirent *entry; !is_over() && (errno = 0, entry = readdir(stream));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        walk.entries++;
        visit_entry(directory, entry->d_name, progress);
    }
    closedir(stream);
}

void send_artifacts(const struct artifacts *wanted, int socket) {
    struct progress root = glob_begin(wanted);
    walk.wanted = wanted;
    walk.until_ms = now_ms() + ARTIFACTS_CLOCK_MS;
    out.socket = socket;
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) walk_directory(fd, &root);
    else walk.more = true;
    put_summary();
    put_zeros(2 * BLOCK_BYTES);
    flush();
}
