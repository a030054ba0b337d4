// timed-spawn: how long a command takes, from just before it is started until it has been waited for.
//
// One idea: starting a process from Node costs a millisecond and more, growing with Node's heap, and blocks its event loop. Here
// it costs what posix_spawn(3) costs a process with no heap. See pace.h for how it is asked and what it prints.
//
//   timed-spawn once COUNT PAUSE_MS ARGV...
//   timed-spawn load PARALLEL MS ARGV...
//
// An argument that ends with `{id}` ends with a number instead that no other process is given. A command that does not exit 0
// ends it all.

#include "pace.h"

#include <fcntl.h>
#include <spawn.h>

extern char **environ;

enum { MAX_ARGUMENTS = 64, ID_BYTES = 128 };

static const char PLACEHOLDER[] = "{id}";

static char **command;

// The argument itself, or, if it ends with the placeholder, what `id` holds then.
static char *fill(char *argument, char id[ID_BYTES]) {
    static unsigned serial;
    size_t length = strlen(argument), tail = sizeof PLACEHOLDER - 1;
    if (length < tail || strcmp(argument + length - tail, PLACEHOLDER) != 0) return argument;
    snprintf(id, ID_BYTES, "%.*s%d-%u", (int)(length - tail), argument, (int)getpid(), serial++);
    return id;
}

static int64_t spawn_once(void) {
    char id[ID_BYTES], *argv[MAX_ARGUMENTS + 1];
    int n = 0;
    for (; command[n]; n++) argv[n] = fill(command[n], id);
    argv[n] = NULL;

    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    int64_t start = now_us();
    int error = posix_spawnp(&pid, argv[0], &files, NULL, argv, environ);
    if (error) fail("%s: %s", argv[0], strerror(error));
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) fail("wait: %s", strerror(errno));
    }
    int64_t took = now_us() - start;
    posix_spawn_file_actions_destroy(&files);
    if (WIFSIGNALED(status)) fail("%s was ended by signal %d", argv[0], WTERMSIG(status));
    if (WEXITSTATUS(status)) fail("%s exited %d", argv[0], WEXITSTATUS(status));
    return took;
}

int main(int argc, char *argv[]) {
    if (argc < 5 || argc - 4 > MAX_ARGUMENTS) fail("usage: timed-spawn once COUNT PAUSE_MS ARGV... | load PARALLEL MS ARGV...");
    command = argv + 4;
    if (strcmp(argv[1], "once") == 0) pace_once(number(argv[2], 1, 1000000), number(argv[3], 0, 60000), spawn_once);
    else if (strcmp(argv[1], "load") == 0) pace_load(number(argv[2], 1, 4096), number(argv[3], 1, 3600000), spawn_once);
    else fail("%s is neither once nor load", argv[1]);
    return EXIT_SUCCESS;
}
