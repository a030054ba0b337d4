// The calls that turning a tar into files takes; the kernel refuses all others.

#pragma once

// To be called last, when nothing but reading the stream and making files is left to do. There is no way back.
void allow_only_unpacking(void);
