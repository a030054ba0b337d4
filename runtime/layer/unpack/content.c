// Sparse files arrive as blocks with offsets: what is between them is never written.

#include "content.h"
#include "die.h"
#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

// Of the file systems in use. A byte in a hole of its own takes as much.
#define DISK_BLOCK_BYTES 4096

// Files of this size and more begin their way to the disk at once: the flush at the end is then no burst that holds up
// whoever else writes, such as Redis.
#define WRITEBACK_BYTES (64 << 10)

uint64_t content_bytes, disk_bytes;

// A sparse file of single bytes takes hundreds of times on disk what it takes in the stream: so both are bounded.
static void count_disk_blocks(int64_t offset, size_t size, int64_t *last, const char *path) {
  int64_t first = offset / DISK_BLOCK_BYTES, end = (offset + (int64_t)size - 1) / DISK_BLOCK_BYTES;
  disk_bytes += (uint64_t)(end - first + (first != *last)) * DISK_BLOCK_BYTES;
  *last = end;
  if (disk_bytes > options.max_bytes) die(LAYER_REFUSED, "more than %lu bytes on disk, at %s", options.max_bytes, path);
}

static void write_block(int fd, const char *block, size_t size, int64_t offset, const char *path) {
  while (size > 0) {
    ssize_t written = pwrite(fd, block, size, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) entry_failed("write", path);
    block += written, offset += written, size -= (size_t)written, content_bytes += (size_t)written;
  }
}

static void check_length(int64_t length, const char *path) {
  if (length < 0 || (uint64_t)length > MAX_FILE_BYTES)
    die(LAYER_REFUSED, "a file of more than %llu bytes, holes included: %s", MAX_FILE_BYTES, path);
}

// The length is set last, for a hole at the end.
void write_content(int fd, struct archive *tar, struct archive_entry *entry, const char *path) {
  const void *block;
  size_t size;
  int64_t offset, last_block = -1;
  int status;
  check_length(archive_entry_size(entry), path);
  while ((status = archive_read_data_block(tar, &block, &size, &offset)) == ARCHIVE_OK) {
    if (size == 0) continue;
    check_length(offset, path);
    count_disk_blocks(offset, size, &last_block, path);
    write_block(fd, block, size, offset, path);
  }
  if (status != ARCHIVE_EOF) die(LAYER_REFUSED, "content cannot be read, %s: %s", archive_error_string(tar), path);
  if (ftruncate(fd, archive_entry_size(entry)) < 0) entry_failed("set the size of", path);
  if (archive_entry_size(entry) >= WRITEBACK_BYTES) sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); // Only a hint.
}
