// Names that begin with `.wh.`: what a layer takes away from those below it (OCI image-spec, layer.md).

#pragma once
#include <stdbool.h>

bool is_marker(const char *name);

// Directories below a `.wh.` name are metadata of AUFS, which only ever had a meaning for AUFS.
bool is_inside_marker(const char *path);

// When a directory becomes a file, some tools also white out what was in it: of a file, that takes nothing away.
bool is_vain_marker(char *path);
// NAME is the last one of PATH, in the directory PARENT.
void unpack_marker(int parent, const char *name, const char *path);
