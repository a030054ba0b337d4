// Writes files that come by stdin. See files.h.

#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// From a pipe, which gives less than it is asked for.
static int read_all(void *bytes, size_t count) {
    for (size_t got = 0; got < count;) {
        ssize_t more = read(STDIN_FILENO, (char *)bytes + got, count - got);
        if (more == 0) return EPIPE;
        if (more < 0 && errno != EINTR) return errno;
        if (more > 0) got += (size_t)more;
    }
    return 0;
}

static int write_all(int fd, const char *bytes, size_t count) {
    for (size_t put = 0; put < count;) {
        ssize_t more = write(fd, bytes + put, count - put);
        if (more < 0 && errno != EINTR) return errno;
        if (more > 0) put += (size_t)more;
    }
    return 0;
}

// Those that are missing above PATH are the account's; those that the image has stay as they are.
static int make_parents(char *path, const struct account *account) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int error = mkdir(path, 0755) ? errno : 0;
        if (error == 0 && chown(path, account->uid, account->gid)) error = errno;
        *slash = '/';
        if (error && error != EEXIST) return error;
    }
    return 0;
}

// Never opens what is there: that may be a FIFO, on which PID 1 would wait, or a symlink.
static int create(char *path, const struct account *account) {
    int error = make_parents(path, account);
    if (error) return errno = error, -1;
    if (unlink(path) && errno != ENOENT) return -1;
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int fill(int fd, const struct file_header *header, const struct account *account) {
    static char buffer[64 * 1024];
    for (uint64_t left = header->bytes; left > 0;) {
        size_t piece = left < sizeof buffer ? (size_t)left : sizeof buffer;
        int error = read_all(buffer, piece);
        if (!error) error = write_all(fd, buffer, piece);
        if (error) return error;
        left -= piece;
    }
    return fchown(fd, account->uid, account->gid) || fchmod(fd, header->mode & 0777) ? errno : 0;
}

int place_files(const struct account *account, unsigned *which) {
    static char path[PATH_MAX];
    for (*which = 0;; (*which)++) {
        struct file_header header;
        int error = read_all(&header, sizeof header);
        if (error || header.path_bytes == 0) return error;
        if (header.path_bytes >= sizeof path) return ENAMETOOLONG;
        if ((error = read_all(path, header.path_bytes))) return error;
        path[header.path_bytes] = '\0';
        if (path[0] != '/') return EINVAL;
        if (path[header.path_bytes - 1] == '/') { // A directory: the parent of what would stand behind its slash.
            if ((error = make_parents(path, account))) return error;
            continue;
        }
        int fd = create(path, account);
        if (fd < 0) return errno;
        error = fill(fd, &header, account);
        if (close(fd) && !error) error = errno;
        if (error) return error;
    }
}
