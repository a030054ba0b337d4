// Reads the tar stream on stdin, to its end.

#pragma once

void unpack_stream(void);
