// What the launcher knows of its host, for those of its parts that ask.

#pragma once
#include "cgroup.h"
#include "connection.h"

const struct cgroups *host_cgroups(void);
// The directory of layers, as the worker names it.
const char *host_layers(void);
void host_tell_status(struct connection *connection);
