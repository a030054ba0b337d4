// Decompresses a layer, in a process that can read its stdin, write its stdout, and do nothing else at all.
//
// gzip by ISA-L, whose inflate takes a third of zlib's time; zstd by its own library. A layer may be several members or
// frames one after the other (pigz, stargz, zstd:chunked make such), and zstd's skippable frames are skipped.

#include "inflate.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <zstd.h>

#include "confine.h"
#include "die.h"

#define INPUT_BYTES (256u << 10)
#define OUTPUT_BYTES (512u << 10)
// The window of zstd's default limit: 128 MiB. `--long=31` would want two gigabytes of every host.
#define MAX_WINDOW_LOG 27
// The window, its tables and the buffers here, with room to spare.
#define INFLATER_MEMORY (384ul << 20)

static unsigned char input[INPUT_BYTES], output[OUTPUT_BYTES];

static size_t read_input(void) {
  ssize_t size;
  do size = read(STDIN_FILENO, input, sizeof input);
  while (size < 0 && errno == EINTR);
  if (size < 0) host_failed("reading the layer");
  return (size_t)size;
}

// Whoever untars has found the layer wrong, and has said so.
static void write_output(size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t written = write(STDOUT_FILENO, output + done, size - done);
    if (written < 0 && errno == EPIPE) _exit(NOBODY_READS);
    if (written < 0 && errno != EINTR) host_failed("handing on the layer");
    if (written > 0) done += (size_t)written;
  }
}

static const char *gzip_error(int error) {
  switch (error) {
    case ISAL_INVALID_WRAPPER: return "no gzip header";
    case ISAL_INCORRECT_CHECKSUM: return "wrong checksum";
    default: return "invalid data";
  }
}

// Padding behind the last member is taken, if it is of zeros, as gzip(1) does.
static void skip_padding(struct inflate_state *state) {
  while (state->avail_in > 0 && *state->next_in == 0) state->next_in++, state->avail_in--;
}

static void inflate_gzip(void) {
  static struct inflate_state state;
  bool inside = true; // Of a member: even an empty layer has one.
  isal_inflate_init(&state);
  state.crc_flag = ISAL_GZIP;
  for (;;) {
    if (state.avail_in == 0) {
      state.next_in = input;
      state.avail_in = (uint32_t)read_input();
      if (state.avail_in == 0) break;
    }
    if (!inside) skip_padding(&state);
    if (state.avail_in == 0) continue;
    inside = true;
    state.next_out = output;
    state.avail_out = sizeof output;
    int error = isal_inflate(&state);
    if (error != ISAL_DECOMP_OK) die(LAYER_REFUSED, "not a valid gzip stream: %s", gzip_error(error));
    write_output(sizeof output - state.avail_out);
    if (state.block_state != ISAL_BLOCK_FINISH) continue;
    isal_inflate_reset(&state);
    inside = false;
  }
  if (inside) die(LAYER_REFUSED, "not a valid gzip stream: it is cut short");
}

static void inflate_zstd(ZSTD_DCtx *context) {
  size_t wanted = 1; // 0 between two frames.
  for (size_t size; (size = read_input()) > 0;) {
    ZSTD_inBuffer in = {.src = input, .size = size};
    // A full output may have left more inside, though all input is taken.
    for (bool is_full = false; in.pos < in.size || is_full;) {
      ZSTD_outBuffer out = {.dst = output, .size = sizeof output};
      wanted = ZSTD_decompressStream(context, &out, &in);
      if (ZSTD_isError(wanted)) die(LAYER_REFUSED, "not a valid zstd stream: %s", ZSTD_getErrorName(wanted));
      write_output(out.pos);
      is_full = out.pos == out.size && wanted != 0;
    }
  }
  if (wanted != 0) die(LAYER_REFUSED, "not a valid zstd stream: it is cut short");
}

// What computing, reading and writing need. Memory may be had, but never to be run.
static void forbid_all_else(void) {
  static const int allowed[] = {SCMP_SYS(read),   SCMP_SYS(write),  SCMP_SYS(brk),
                                SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
                                SCMP_SYS(exit),   SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn)};
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
  bool ok = filter != NULL;
  for (size_t i = 0; ok && i < sizeof allowed / sizeof *allowed; i++)
    ok = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0) == 0;
  ok = ok && seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) == 0;
  if (!ok || seccomp_load(filter) != 0) die(HOST_FAILED, "the decompressor cannot be confined");
  seccomp_release(filter);
}

_Noreturn void be_inflater(enum compression compression, uint32_t user) {
  become_nobody(user, INFLATER_MEMORY);
  ZSTD_DCtx *context = ZSTD_createDCtx();
  if (!context || ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, MAX_WINDOW_LOG)))
    die(HOST_FAILED, "no memory to decompress");
  forbid_all_else();
  if (compression == COMPRESSION_GZIP) inflate_gzip();
  else inflate_zstd(context);
  _exit(DONE);
}
